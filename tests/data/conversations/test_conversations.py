"""Conversations: answers can be traced, and the history contains only answered questions."""

from data import domains
from data.conversations import conversations
from data.conversations.conversations import Message
from data.domains import Domain
from data.store.clock import now_us
from data.store.db import Store

ANN = "slack:T1/UANN"


def ask(store: Store, domain: Domain, thread: str, text: str) -> str:
    reply_id = conversations.new_reply_id()
    with store.write() as db:
        conversations.ask(
            db,
            reply_id=reply_id,
            conversation=conversations.open_thread(db, thread, domain.id, ANN),
            person=ANN,
            text=text,
            adapter_id=None,
            variant_id=None,
        )
    return reply_id


def answer(store: Store, reply_id: str, text: str, status: conversations.Status = "done") -> None:
    with store.write() as db:
        conversations.finish_reply(db, reply_id, text, status=status, completion_tokens=3)


def history(store: Store, thread: str, turns: int = 6) -> list[tuple[str, str]]:
    found = conversations.find(store.db, thread)
    assert found is not None
    return [(m.role, m.text) for m in conversations.history(store.db, found.id, turns)]


def test_a_thread_is_one_conversation_and_keeps_its_first_domain(
    store: Store, domain: Domain
) -> None:
    with store.write() as db:
        first = conversations.open_thread(db, "t", domain.id, ANN)
        other = domains.create(db, "hr")
        assert conversations.open_thread(db, "t", other.id, "slack:T1/UBOB") == first
    assert conversations.find(store.db, "unknown") is None


def test_reply_ids_sort_by_time_and_are_unique() -> None:
    made = [conversations.new_reply_id() for _ in range(500)]
    assert len(set(made)) == 500
    stamps = [reply_id[: len("chatcmpl-") + 14] for reply_id in made]
    assert stamps == sorted(stamps)


def test_a_reply_is_open_until_it_is_answered(store: Store, domain: Domain) -> None:
    reply_id = ask(store, domain, "t", "How?")
    assert conversations.reply(store.db, reply_id).status == "streaming"
    answer(store, reply_id, "So.")
    closed = conversations.reply(store.db, reply_id)
    assert (closed.status, closed.completion_tokens, closed.person) == ("done", 3, ANN)
    assert conversations.exchange(store.db, reply_id) == ("How?", "So.")


def test_a_reply_is_closed_once(store: Store, domain: Domain) -> None:
    reply_id = ask(store, domain, "t", "How?")
    answer(store, reply_id, "So.")
    answer(store, reply_id, "Or so.", "failed")
    assert conversations.reply(store.db, reply_id).status == "done"
    assert history(store, "t") == [("user", "How?"), ("assistant", "So.")]


def test_history_is_the_last_turns_oldest_first(store: Store, domain: Domain) -> None:
    for number in range(4):
        answer(store, ask(store, domain, "t", f"q{number}"), f"a{number}")
    assert history(store, "t", 2) == [
        ("user", "q2"),
        ("assistant", "a2"),
        ("user", "q3"),
        ("assistant", "a3"),
    ]
    assert history(store, "t", 0) == []


def test_history_leaves_out_unanswered_questions(store: Store, domain: Domain) -> None:
    answer(store, ask(store, domain, "t", "q0"), "a0")
    answer(store, ask(store, domain, "t", "q1"), "half", "failed")
    answer(store, ask(store, domain, "t", "q2"), "")
    answer(store, ask(store, domain, "t", "q3"), "cut off", "partial")
    ask(store, domain, "t", "q4")
    assert [text for _, text in history(store, "t")] == ["q0", "a0", "q3", "cut off"]


def test_overlapping_answers_stay_with_their_questions(store: Store, domain: Domain) -> None:
    first, second = ask(store, domain, "t", "q0"), ask(store, domain, "t", "q1")
    answer(store, second, "a1")
    answer(store, first, "a0")
    pairs = history(store, "t")
    assert {(pairs[n][1], pairs[n + 1][1]) for n in (0, 2)} == {("q0", "a0"), ("q1", "a1")}
    assert [role for role, _ in pairs] == ["user", "assistant"] * 2


def test_replies_that_a_dead_process_left_open_are_closed(store: Store, domain: Domain) -> None:
    reply_id = ask(store, domain, "t", "How?")
    with store.write() as db:
        assert conversations.close_abandoned(db, 60) == 0
        assert conversations.close_abandoned(db, -1) == 1
    assert conversations.reply(store.db, reply_id).status == "failed"


def test_a_repeated_delivery_is_not_new(store: Store) -> None:
    with store.write() as db:
        seen = [conversations.seen_before(db, "slack:event", key) for key in ("a", "a", "b")]
        assert seen == [False, True, False]
        assert conversations.seen_before(db, "slack:message", "a") is False
        assert conversations.forget_deliveries(db, now_us() + 1) == 3
        assert conversations.seen_before(db, "slack:event", "a") is False


def test_a_message_has_the_form_that_engines_expect(store: Store, domain: Domain) -> None:
    answer(store, ask(store, domain, "t", "q"), "a")
    found = conversations.find(store.db, "t")
    assert found is not None
    assert conversations.history(store.db, found.id, 1) == [
        Message("user", "q"),
        Message("assistant", "a"),
    ]
