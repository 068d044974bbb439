"""Which rated answers a run learns from; a run keeps its answers."""

from collections.abc import Iterator

import pytest
from sqlite_utils import Database

from data import domains
from data.conversations import conversations
from data.domains import Domain
from data.experiments import experiments
from data.experiments.variants import VariantSpec
from data.feedback import feedback, raters
from data.pairs import judged_answers, pairs, preference_sets
from data.pairs.judged_answers import JudgedDraft
from data.pairs.preference_sets import TooFewRated
from data.runs import runs
from data.store.db import Store, value
from data.store.errors import Conflict
from tests.data import given

ANN, BOB = "slack:T1/U1", "slack:T1/U2"


@pytest.fixture
def db(store: Store, domain: Domain) -> Iterator[Database]:
    with store.write() as db:
        yield db


def rated(db: Database, domain: Domain, liked: int, disliked: int) -> list[str]:
    """Replies with a thumb each, the liked ones first."""
    made = []
    for number in range(liked + disliked):
        reply = given.reply(db, domain, ANN, f"Question {number}?", f"Answer {number}.")
        feedback.thumb(db, reply, ANN, up=number < liked)
        made.append(reply)
    return made


def asked(db: Database, domain: Domain) -> runs.Run:
    given.adapter(db, domain, "live")
    return runs.request(db, domain, "cli:ann", recipe={"method": "kto"})


def test_a_run_learns_from_the_answers_that_were_rated_when_it_began(
    db: Database, domain: Domain
) -> None:
    replies = rated(db, domain, 4, 5)
    run = asked(db, domain)
    assert (run.learns, run.kind) == ("preferences", "incremental")
    preference_sets.freeze(db, run.id, domain)
    feedback.thumb(db, replies[0], ANN, up=False)
    later = given.reply(db, domain, ANN)
    feedback.thumb(db, later, ANN, up=True)
    preference_sets.freeze(db, run.id, domain)  # it goes on after a crash
    learned = preference_sets.of_run(db, run.id, 6)
    assert [one.reply_id for one in learned] == replies
    assert [one.liked for one in learned] == [True] * 4 + [False] * 5
    assert (learned[0].question, learned[0].answer) == ("Question 0?", "Answer 0.")


@pytest.mark.parametrize(("liked", "disliked"), [(0, 0), (9, 3), (3, 9), (9, 0)])
def test_ratings_of_only_one_kind_are_not_enough(
    db: Database, domain: Domain, liked: int, disliked: int
) -> None:
    rated(db, domain, liked, disliked)
    with pytest.raises(TooFewRated, match=f"{liked} liked and {disliked} "):
        asked(db, domain)


def test_without_a_live_adapter_there_is_nothing_to_improve(db: Database, domain: Domain) -> None:
    rated(db, domain, 4, 4)
    with pytest.raises(Conflict, match="no live adapter"):
        runs.request(db, domain, "cli:ann", recipe={"method": "kto"})


def test_the_majority_of_a_thread_counts_once(db: Database, domain: Domain) -> None:
    shared, tied = given.reply(db, domain, ANN), given.reply(db, domain, ANN)
    for number, up in enumerate([True, True, False]):
        feedback.thumb(db, shared, f"slack:T1/V{number}", up)
    disliked = given.reply(db, domain, ANN)
    for number, up in enumerate([True, False, False]):
        feedback.thumb(db, disliked, f"slack:T1/V{number}", up)
    for number, up in enumerate([True, False]):
        feedback.thumb(db, tied, f"slack:T1/V{number}", up)
    assert preference_sets.counts(db, domain) == (1, 1)


def test_ratings_of_a_quarantined_rater_count_only_after_release(
    db: Database, domain: Domain
) -> None:
    replies = rated(db, domain, 4, 4)
    run = asked(db, domain)
    for reply in replies:
        feedback.thumb(db, reply, BOB, up=False)
    given_before = preference_sets.counts(db, domain)
    raters.quarantine(db, domain, BOB, "votes at random", "cli:ann")
    after = given.reply(db, domain, ANN)
    feedback.thumb(db, after, BOB, up=False)
    assert given_before == (0, 4)  # four answers are liked and disliked alike
    assert preference_sets.counts(db, domain) == (4, 4)
    preference_sets.freeze(db, run.id, domain)
    learned = {one.reply_id: one.liked for one in preference_sets.of_run(db, run.id, 6)}
    assert learned == dict(zip(replies, [True] * 4 + [False] * 4, strict=True))
    raters.release(db, domain, BOB, "cli:ann")
    assert preference_sets.counts(db, domain) == (0, 5)


@pytest.mark.parametrize("who", [ANN, BOB], ids=["who asked", "who judged"])
def test_people_who_opted_out_are_not_learned_from(db: Database, domain: Domain, who: str) -> None:
    reply = given.reply(db, domain, ANN)
    feedback.thumb(db, reply, BOB, up=True)
    assert preference_sets.counts(db, domain) == (1, 0)
    db.execute("INSERT INTO opt_outs (person, at) VALUES (?, 0)", [who])
    assert preference_sets.counts(db, domain) == (0, 0)


def test_incomplete_answers_are_not_learned_from(db: Database, domain: Domain) -> None:
    for status in ("partial", "cancelled"):
        feedback.thumb(db, given.reply(db, domain, ANN, status=status), ANN, up=False)
    cut = given.reply(db, domain, ANN, status="streaming")
    conversations.finish_reply(db, cut, "So and", status="done", finish_reason="length")
    feedback.thumb(db, cut, ANN, up=False)
    assert preference_sets.counts(db, domain) == (0, 0)


def test_an_answer_comes_with_what_was_said_before_it_and_nothing_later(
    db: Database, domain: Domain
) -> None:
    thread = conversations.open_thread(db, "thread", domain.id, ANN)
    replies = []
    for number in range(4):
        replies.append(conversations.new_reply_id())
        conversations.ask(
            db,
            reply_id=replies[-1],
            conversation=thread,
            person=ANN,
            text=f"Q{number}",
            adapter_id=None,
            variant_id=None,
        )
        conversations.finish_reply(
            db, replies[-1], f"A{number}", status="done", finish_reason="stop"
        )
    feedback.thumb(db, replies[2], ANN, up=True)
    rated(db, domain, 4, 4)
    run = asked(db, domain)
    preference_sets.freeze(db, run.id, domain)
    [third] = [one for one in preference_sets.of_run(db, run.id, 1) if one.reply_id == replies[2]]
    assert [turn.text for turn in third.turns] == ["Q1", "A1"]
    [third] = [one for one in preference_sets.of_run(db, run.id, 6) if one.reply_id == replies[2]]
    assert [turn.text for turn in third.turns] == ["Q0", "A0", "Q1", "A1"]


def test_an_answer_that_was_removed_is_removed_from_runs(db: Database, domain: Domain) -> None:
    replies = rated(db, domain, 4, 4)
    run = asked(db, domain)
    preference_sets.freeze(db, run.id, domain)
    db.execute("DELETE FROM replies WHERE id = ?", [replies[0]])
    assert len(preference_sets.of_run(db, run.id, 6)) == 7
    assert value(db, "SELECT count(*) FROM run_judgements", []) == 7


def test_a_preference_run_is_distinguished_from_a_run_on_pairs(
    db: Database, domain: Domain
) -> None:
    given.approved(db, domain, pairs.Draft(prompt="Why?", response="So."))
    assert runs.request(db, domain, "cli:ann").learns == "pairs"


def test_four_liked_and_four_disliked_answers_are_enough(db: Database, domain: Domain) -> None:
    replies = rated(db, domain, 4, 3)
    with pytest.raises(TooFewRated):
        preference_sets.check(db, domain)
    feedback.thumb(db, given.reply(db, domain, ANN), ANN, up=False)
    preference_sets.check(db, domain)
    feedback.withdraw(db, replies[0], ANN, "thumb")
    with pytest.raises(TooFewRated):
        preference_sets.check(db, domain)


def test_only_current_ratings_of_the_domains_answers_count(db: Database, domain: Domain) -> None:
    other = domains.create(db, "other")
    feedback.thumb(db, given.reply(db, other, ANN), ANN, up=True)
    helped = given.reply(db, domain, ANN)
    feedback.follow_up(db, helped, ANN, True)
    feedback.reason(db, helped, ANN, "Good.")
    taken_back = given.reply(db, domain, ANN)
    feedback.thumb(db, taken_back, ANN, up=True)
    feedback.withdraw(db, taken_back, ANN, "thumb")
    changed = given.reply(db, domain, ANN)
    feedback.thumb(db, changed, ANN, up=True)
    feedback.thumb(db, changed, ANN, up=False)
    assert preference_sets.counts(db, domain) == (0, 1)
    assert preference_sets.counts(db, other) == (1, 0)


def test_a_follow_up_does_not_change_a_rating(db: Database, domain: Domain) -> None:
    reply = given.reply(db, domain, ANN)
    feedback.thumb(db, reply, ANN, up=True)
    feedback.follow_up(db, reply, ANN, False)
    feedback.follow_up(db, reply, BOB, False)
    assert preference_sets.counts(db, domain) == (1, 0)


@pytest.mark.parametrize(("rater", "left"), [(ANN, 0), (BOB, 8)])
def test_a_run_that_goes_on_leaves_out_who_opted_out_meanwhile(
    db: Database, domain: Domain, rater: str, left: int
) -> None:
    """Ann asked everything; Bob only rated one answer that Ann rated, too, and one alone."""
    replies = rated(db, domain, 4, 4)
    alone = given.reply(db, domain, "slack:T1/U3", "Alone?", "So.")
    feedback.thumb(db, alone, BOB, up=True)
    feedback.thumb(db, replies[0], BOB, up=True)
    run = asked(db, domain)
    preference_sets.freeze(db, run.id, domain)
    assert len(preference_sets.of_run(db, run.id, 6)) == 9

    db.execute("INSERT INTO opt_outs (person, at) VALUES (?, 0)", [rater])

    learned = [one.reply_id for one in preference_sets.of_run(db, run.id, 6)]
    assert learned == ([alone] if rater == ANN else replies)
    assert len([one for one in learned if one != alone]) == left


def test_an_opt_out_affects_only_the_persons_own_conversations(
    db: Database, domain: Domain
) -> None:
    own, others = given.reply(db, domain, ANN), given.reply(db, domain, BOB)
    for reply in (own, others):
        feedback.thumb(db, reply, "slack:T1/U3", up=True)
    db.execute("INSERT INTO opt_outs (person, at) VALUES (?, 0)", [ANN])
    assert preference_sets.counts(db, domain) == (1, 0)


def test_an_opt_out_removes_only_the_persons_own_ratings(db: Database, domain: Domain) -> None:
    reply = given.reply(db, domain, ANN)
    for person in (BOB, "slack:T1/U3"):
        feedback.thumb(db, reply, person, up=person == BOB)
    assert preference_sets.counts(db, domain) == (0, 0)
    db.execute("INSERT INTO opt_outs (person, at) VALUES (?, 0)", [BOB])
    assert preference_sets.counts(db, domain) == (0, 1)


def test_if_there_are_too_many_answers_the_newest_are_used(
    db: Database, domain: Domain, monkeypatch: pytest.MonkeyPatch
) -> None:
    replies = rated(db, domain, 5, 4)
    monkeypatch.setattr(preference_sets, "MOST", 8)
    run = asked(db, domain)
    assert preference_sets.counts(db, domain) == (4, 4)
    preference_sets.freeze(db, run.id, domain)
    learned = preference_sets.of_run(db, run.id, 6)
    assert [one.reply_id for one in learned] == replies[1:]
    assert [one.number for one in learned] == list(range(1, 9))


def test_each_run_keeps_its_own_answers(db: Database, domain: Domain) -> None:
    replies = rated(db, domain, 4, 4)
    first = asked(db, domain)
    preference_sets.freeze(db, first.id, domain)
    db.execute("UPDATE runs SET state = 'cancelled' WHERE id = ?", [first.id])
    replies.append(given.reply(db, domain, ANN))
    feedback.thumb(db, replies[-1], ANN, up=False)
    second = runs.request(db, domain, "cli:ann", recipe={"method": "kto"})
    preference_sets.freeze(db, second.id, domain)
    learned = [
        [r.reply_id for r in preference_sets.of_run(db, run.id, 6)] for run in (first, second)
    ]
    assert learned == [replies[:8], replies]


def test_erased_words_are_not_learned_from(db: Database, domain: Domain) -> None:
    replies = rated(db, domain, 4, 4)
    run = asked(db, domain)
    preference_sets.freeze(db, run.id, domain)
    for reply, role in ((replies[0], "user"), (replies[5], "assistant")):
        db.execute("UPDATE messages SET text = '' WHERE reply_id = ? AND role = ?", [reply, role])
    learned = preference_sets.of_run(db, run.id, 6)
    assert [one.reply_id for one in learned] == [
        r for r in replies if r not in (replies[0], replies[5])
    ]


def test_an_answer_comes_with_its_variants_prompt_and_the_engines_count(
    db: Database, domain: Domain
) -> None:
    begun = experiments.begin(
        db, domain, [VariantSpec(None), VariantSpec(None, "Be kind.")], "cli:ann"
    )
    usual, kind = (given.reply(db, domain, ANN, variant=variant) for variant in begun.variants)
    plain = given.reply(db, domain, ANN)
    for number, reply in enumerate((usual, kind, plain), 11):
        db.execute("UPDATE replies SET prompt_tokens = ? WHERE id = ?", [number, reply])
        feedback.thumb(db, reply, ANN, up=True)
    rated(db, domain, 4, 4)
    run = asked(db, domain)
    preference_sets.freeze(db, run.id, domain)
    found = {r.reply_id: (r.system, r.prompt_tokens) for r in preference_sets.of_run(db, run.id, 6)}
    assert [found[reply] for reply in (usual, kind, plain)] == [
        (None, 11),
        ("Be kind.", 12),
        (None, 13),
    ]


def test_answers_of_the_same_time_are_ordered_by_id(db: Database, domain: Domain) -> None:
    replies = rated(db, domain, 4, 4)
    run = asked(db, domain)
    preference_sets.freeze(db, run.id, domain)
    db.execute("UPDATE replies SET created_at = 5")
    learned = preference_sets.of_run(db, run.id, 6)
    assert [one.reply_id for one in learned] == sorted(replies)


def test_answers_come_oldest_first_whatever_their_ids(db: Database, domain: Domain) -> None:
    replies = sorted(rated(db, domain, 4, 4), reverse=True)
    for at, reply in enumerate(replies):
        db.execute("UPDATE replies SET created_at = ? WHERE id = ?", [at, reply])
    run = asked(db, domain)
    preference_sets.freeze(db, run.id, domain)
    learned = preference_sets.of_run(db, run.id, 6)
    assert [one.reply_id for one in learned] == replies


def test_rated_answers_from_a_file_are_learned_like_thumbs(db: Database, domain: Domain) -> None:
    rated(db, domain, 2, 4)
    for number in range(2):
        draft = JudgedDraft(f"Q{number}?", "So.", True, "Be brief.", (pairs.Turn("user", "Hi"),))
        assert judged_answers.add(
            db, domain, draft, source_ref=f"a.jsonl:{number}", author="cli:ann", import_id=1
        )
    assert preference_sets.counts(db, domain) == (4, 4)
    run = asked(db, domain)

    preference_sets.freeze(db, run.id, domain)
    preference_sets.freeze(db, run.id, domain)

    first, *others = preference_sets.of_run(db, run.id, 6)
    assert len(others) == 7
    assert (first.question, first.answer, first.liked) == ("Q0?", "So.", True)
    assert (first.system, first.prompt_tokens, first.reply_id) == ("Be brief.", None, "a.jsonl:0")
    assert [(turn.role, turn.text) for turn in first.turns] == [("user", "Hi")]


def test_another_rating_of_a_rated_answer_replaces_the_first(db: Database, domain: Domain) -> None:
    def add(liked: bool) -> bool:
        draft = JudgedDraft("Q?", "So.", liked)
        return judged_answers.add(db, domain, draft, source_ref="", author="", import_id=1)

    assert [add(True), add(True), add(False)] == [True, False, True]
    assert judged_answers.counts(db, domain) == (0, 1)


def test_a_visitor_with_many_identities_teaches_nothing(db: Database, domain: Domain) -> None:
    """Not even by pushing the ratings of others out of the newest ones."""
    honest = rated(db, domain, 4, 4)
    for number in range(300):
        person = f"web:session{number}"
        feedback.thumb(db, given.reply(db, domain, person, "Why?", "So."), person, up=False)
        feedback.thumb(db, honest[number % 4], person, up=False)
    assert preference_sets.counts(db, domain) == (4, 4)


def test_one_person_teaches_no_more_than_their_part(db: Database, domain: Domain) -> None:
    """A hostile member presses thumbs down 40 times, which is below the cap of a day."""
    rated(db, domain, 6, 4)
    for number in range(40):
        reply = given.reply(db, domain, BOB, f"Why {number}?", "So.")
        feedback.thumb(db, reply, BOB, up=False)
    liked, disliked = preference_sets.counts(db, domain)
    assert (liked, disliked) == (6, 4 + preference_sets.MOST_EACH)
