"""While the engines sleep for a tuning run, people are told until when."""

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from bot.answering import routing
from data import domains
from data.adapters import placements
from data.runs import runs
from data.store.db import Store
from serving.client import EngineDown


def test_people_are_told_how_long_the_bot_learns(tmp_path: Path) -> None:
    with Store(tmp_path / "understudy.db") as store:
        with store.write() as db:
            domain = domains.create(db, "helpdesk")
            placements.record_heartbeat(db, "local-1", "http://engine", "pocket", "asleep")
            run = runs.queue(db, domain, "cli:test", kind="full")
            runs.claim(db, "w1")
        with pytest.raises(EngineDown, match=r"learning right now\. Ask again in a few minutes"):
            routing.targets_for(store.db, domain, "web:1")
        with store.write() as db:
            runs.progress(db, runs.get(db, run.id), step=1, total_steps=9, eta_s=3600)
        with pytest.raises(EngineDown) as told:
            routing.targets_for(store.db, domain, "web:1")
    around = [datetime.now() + timedelta(minutes=n) for n in (60, 61)]
    sentences = [f"The bot is learning until about {at:%H:%M}. Ask again then." for at in around]
    assert str(told.value) in sentences


def test_another_engine_that_is_awake_answers(tmp_path: Path) -> None:
    with Store(tmp_path / "understudy.db") as store:
        with store.write() as db:
            domain = domains.create(db, "helpdesk")
            placements.record_heartbeat(db, "local-1", "http://engine", "pocket", "asleep")
            placements.record_heartbeat(db, "local-2", "http://other", "pocket", "ready")
        (target,) = routing.targets_for(store.db, domain, "web:1")
    assert [replica.name for replica in target.replicas] == ["local-2"]
