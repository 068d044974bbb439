"""Events of buttons and emoji lead to the same thumb in whatever order they arrive."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data import domains
from data.conversations import conversations
from data.domains import Domain
from data.feedback import feedback, reactions
from data.store.db import Store, rows
from data.store.errors import Conflict, NotFound
from tests.data import given as made

ANN = "slack:T1/UANN"
Event = tuple[str, bool, int]  # reaction, whether it was set or removed, time
UP = {"button up": True, "+1": True, "+1::skin-tone-2": True, "button down": False, "-1": False}
UP |= {"thumbsup": True, "thumbsdown": False}


@pytest.fixture
def reply(store: Store, domain: Domain) -> str:
    with store.write() as db:
        return made.reply(db, domain, ANN)


def apply(store: Store, reply: str, *events: Event) -> float | None:
    """The thumb that counts after these events arrived in this order."""
    with store.write() as db:
        for reaction, active, at in events:
            name = reactions.BUTTON if reaction.startswith("button") else reaction
            up = UP[reaction]
            reactions.put(db, reply, ANN, name, up=up, active=active, at=at)
    thumb = feedback.live(store.db, reply, ANN, "thumb")
    return None if thumb is None else thumb.value


@pytest.mark.parametrize(
    ("history", "counts"),
    [
        ([("+1", True, 1), ("button down", True, 2)], 0.0),
        ([("button down", True, 1), ("+1", True, 2)], 1.0),
        ([("button down", True, 1), ("button up", True, 2)], 1.0),
        ([("+1", True, 1), ("-1", True, 2), ("-1", False, 3)], 1.0),
        ([("+1", True, 1), ("-1", True, 2), ("+1", False, 3)], 0.0),
        ([("+1", True, 1), ("+1", False, 2)], None),
        ([("+1", True, 1), ("+1::skin-tone-2", True, 2), ("+1", False, 3)], 1.0),
        ([("+1", True, 1), ("+1", False, 2), ("+1", True, 3)], 1.0),
        ([("button up", True, 1), ("-1", True, 2), ("-1", False, 3), ("button down", True, 4)], 0),
    ],
)
def test_the_latest_active_reaction_counts_in_any_order_of_events(
    store: Store, domain: Domain, history: list[Event], counts: float | None
) -> None:
    for order in itertools.permutations(history):
        with store.write() as db:
            reply = made.reply(db, domain, ANN)
        assert apply(store, reply, *order, order[0]) == counts, order


@pytest.mark.integration
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_every_order_of_events_gives_the_same_thumb(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    times = data.draw(st.lists(st.integers(1, 50), min_size=1, max_size=8, unique=True))
    events = [(data.draw(st.sampled_from(list(UP))), data.draw(st.booleans()), t) for t in times]
    events = [(reaction, active or "button" in reaction, t) for reaction, active, t in events]
    shuffled = data.draw(st.permutations(events + events[:2]))
    with Store(tmp_path_factory.mktemp("marks") / "understudy.db") as store:
        with store.write() as db:
            domain = domains.create(db, "helpdesk")
            first, second = made.reply(db, domain, ANN), made.reply(db, domain, ANN)
        assert apply(store, first, *sorted(events, key=lambda e: e[2])) == apply(
            store, second, *shuffled
        )
        live = "SELECT count(*) AS n FROM feedback WHERE live = 1 GROUP BY reply_id"
        assert all(r["n"] == 1 for r in rows(store.db, live))


def test_a_reaction_counts_for_its_own_answer_and_person(store: Store, domain: Domain) -> None:
    bob = "slack:T1/UBOB"
    with store.write() as db:
        first, second = made.reply(db, domain, ANN), made.reply(db, domain, ANN)
        reactions.put(db, second, ANN, "+1", up=True, active=True, at=8)
        reactions.put(db, first, bob, "+1", up=True, active=True, at=9)
        reactions.put(db, first, ANN, "-1", up=False, active=True, at=1)
    thumbs = {
        (reply, person): feedback.live(store.db, reply, person, "thumb")
        for reply in (first, second)
        for person in (ANN, bob)
    }
    assert {key: thumb.value for key, thumb in thumbs.items() if thumb} == {
        (first, ANN): 0.0,
        (first, bob): 1.0,
        (second, ANN): 1.0,
    }


def test_put_returns_whether_something_changed(store: Store, reply: str) -> None:
    with store.write() as db:
        assert reactions.put(db, reply, ANN, "+1", up=True, active=True, at=5) is True
        assert reactions.put(db, reply, ANN, "+1", up=True, active=True, at=5) is False


def test_the_end_of_an_answer_applies_the_reactions_to_it_and_no_others(
    store: Store, domain: Domain
) -> None:
    bob, cid = "slack:T1/UBOB", "slack:T1/UCID"
    with store.write() as db:
        reply, other = (made.reply(db, domain, ANN, status="streaming") for _ in range(2))
        for person, up in ((ANN, True), (bob, False)):
            reactions.put(db, reply, person, "+1" if up else "-1", up=up, active=True, at=1)
        reactions.put(db, other, cid, "+1", up=True, active=True, at=1)
        conversations.finish_reply(db, reply, "So.", status="done")
        reactions.settle_thumb(db, reply)
    sql = "SELECT reply_id, person, value FROM feedback WHERE live = 1 ORDER BY person"
    found = [(r["reply_id"], r["person"], r["value"]) for r in rows(store.db, sql)]
    assert found == [(reply, ANN, 1.0), (reply, bob, 0.0)]


def test_an_old_event_changes_nothing(store: Store, reply: str) -> None:
    apply(store, reply, ("+1", True, 5))
    with store.write() as db:
        assert not reactions.put(db, reply, ANN, "+1", up=True, active=True, at=5)
        assert not reactions.put(db, reply, ANN, "+1", up=True, active=False, at=4)
    assert len(rows(store.db, "SELECT * FROM feedback")) == 1


@pytest.mark.parametrize(
    ("emoji", "button", "counts"),
    [("thumbsdown", "button up", 1.0), ("thumbsup", "button down", 0.0), ("-1", "button up", 1.0)],
)
def test_the_button_wins_over_an_emoji_of_the_same_moment(
    store: Store, domain: Domain, emoji: str, button: str, counts: float
) -> None:
    for order in itertools.permutations([(emoji, True, 1), (button, True, 1)]):
        with store.write() as db:
            reply = made.reply(db, domain, ANN)
        assert apply(store, reply, *order) == counts, order


def test_of_two_emoji_of_the_same_moment_the_same_one_always_counts(
    store: Store, domain: Domain
) -> None:
    seen = set()
    for order in itertools.permutations([("thumbsup", True, 1), ("thumbsdown", True, 1)]):
        with store.write() as db:
            reply = made.reply(db, domain, ANN)
        seen.add(apply(store, reply, *order))
    assert seen == {1.0}  # the later name in the alphabet


def test_a_reaction_to_an_unfinished_answer_counts_when_the_answer_ends(
    store: Store, domain: Domain
) -> None:
    with store.write() as db:
        reply = made.reply(db, domain, ANN, status="streaming")
    assert apply(store, reply, ("+1", True, 1)) is None
    with store.write() as db:
        reactions.settle_thumb(db, reply)
    assert feedback.live(store.db, reply, ANN, "thumb") is None
    with store.write() as db:
        conversations.finish_reply(db, reply, "So.", status="done")
        reactions.settle_thumb(db, reply)
    assert feedback.counts(store.db, domain.id)["up"] == 1


def test_a_failed_answer_cannot_be_rated(store: Store, domain: Domain) -> None:
    with store.write() as db:
        reply = made.reply(db, domain, ANN, status="failed")
    with pytest.raises(Conflict):
        apply(store, reply, ("-1", True, 1))
    with pytest.raises(NotFound):
        apply(store, "chatcmpl-gone", ("-1", True, 1))
    with store.write() as db:
        reactions.settle_thumb(db, reply)
    assert rows(store.db, "SELECT * FROM feedback") == []
