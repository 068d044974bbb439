"""What is taken as new work, and what is not."""

from pathlib import Path

import pytest

from bot.slack.client.stream import SlackPlace
from bot.slack.inbound.ingest import ingest_event, ingest_question
from bot.slack.payloads import HeardMessage, heard_message
from bot.slack.workspace.trigger_dedup import MAX_TRIGGERS, TriggerDedup
from data.store.db import Store

PLACE = SlackPlace("T1", "C1", "1.0", "U1")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "understudy.db")


def heard(ts: str, event_id: str) -> HeardMessage:
    return HeardMessage(PLACE, ts, "hello", True, event_id)


def test_a_question_is_ingested_once_by_event_and_by_message(store: Store) -> None:
    with store.write() as db:
        assert ingest_question(db, heard("1.0", "Ev1"))
        assert not ingest_question(db, heard("1.0", "Ev2"))
        assert not ingest_question(db, heard("2.0", "Ev1"))
        assert ingest_question(db, heard("2.0", "Ev3"))
    store.close()


def test_other_events_are_ingested_once(store: Store) -> None:
    event = {"type": "event_callback", "team_id": "T1", "event_id": "Ev1"}
    with store.write() as db:
        assert ingest_event(db, event)
        assert not ingest_event(db, event)
        assert ingest_event(db, event | {"team_id": "T2"})
    store.close()


def test_a_trigger_is_accepted_once_and_old_ones_are_dropped() -> None:
    triggers = TriggerDedup()
    assert [triggers.is_new(name) for name in ("1", "1", "2", "", "")] == [
        True,
        False,
        True,
        True,
        True,
    ]
    for number in range(MAX_TRIGGERS):
        triggers.is_new(f"other {number}")
    assert triggers.is_new("1")


def test_each_thread_and_each_top_level_message_is_a_conversation() -> None:
    event = {"type": "message", "channel": "D1", "user": "U1", "text": "hi", "ts": "5.0"}
    body = {"team_id": "T1", "event_id": "Ev1", "event": event}
    alone = heard_message(body, "UBOT")
    inside = heard_message(body | {"event": event | {"thread_ts": "4.0"}}, "UBOT")
    assert alone is not None
    assert inside is not None
    assert (alone.thread, inside.thread) == ("slack:T1/D1/5.0", "slack:T1/D1/4.0")


@pytest.mark.parametrize("event", [{}, {"type": "message"}, {"type": "message", "user": 7}])
def test_an_event_without_its_fields_is_ignored(event: dict[str, object]) -> None:
    assert heard_message({"event": event}, "UBOT") is None
