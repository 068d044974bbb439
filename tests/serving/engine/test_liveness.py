"""What counts as a sign of life of an engine, and what as a hang."""

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from data.config.settings import ServingSettings
from serving.engine import liveness
from serving.engine.liveness import Liveness, probe, progress
from tests.conftest import free_port
from tests.serving.fake_vllm import FakeVllm

NO_TOKEN = "it wrote no token in 0.3 s"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(liveness, "POLL_S", 0.02)


@dataclass
class Watched:
    """What `Liveness` reads of an engine, and tells it."""

    url: str
    state: str = "ready"
    starts: int = 1
    hung: str = ""

    def report_hung(self, starts: int, why: str) -> None:
        assert starts == self.starts
        self.hung = why

    def report_alive(self) -> None:
        self.hung = ""


@pytest.fixture
def engine(fake: FakeVllm) -> Watched:
    return Watched(fake.url)


@pytest.fixture
def look(engine: Watched) -> Iterator[object]:
    serving = ServingSettings().model_copy(update={"probe_timeout_s": 0.3})
    watching = Liveness(engine, serving)
    assert not watching.due(), "it has just started"

    def look() -> str:
        watching.suspect()
        watching.look(threading.Event())
        return engine.hung

    return look


def test_an_idle_engine_is_asked_for_one_token(fake: FakeVllm, look) -> None:
    assert look() == ""
    assert [(b["model"], b["max_tokens"]) for b in fake.completed] == [("base", 1)]


def test_an_engine_that_writes_for_others_is_not_asked(fake: FakeVllm, look) -> None:
    look()
    fake.steps += 1
    look()
    assert len(fake.completed) == 1
    look()
    assert len(fake.completed) == 2


def test_an_engine_that_writes_nothing_hangs_until_it_does(fake: FakeVllm, look) -> None:
    fake.hung = lambda: True
    assert look() == NO_TOKEN
    assert look() == NO_TOKEN
    fake.hung = lambda: False
    assert look() == ""


def test_one_without_metrics_hangs_too(fake: FakeVllm, look) -> None:
    fake.has_metrics = False
    fake.hung = lambda: True
    assert look() == NO_TOKEN


def test_an_engine_that_is_too_busy_for_a_token_does_not_hang(fake: FakeVllm, look) -> None:
    """Hundreds of questions may be before it in the queue."""
    fake.writes_no_completion = True
    done = threading.Event()

    def answer_others() -> None:
        while not done.wait(0.1):
            fake.steps += 1

    others = threading.Thread(target=answer_others)
    others.start()
    try:
        assert [look() for _ in range(4)] == [""] * 4
    finally:
        done.set()
        others.join()
    assert look() == NO_TOKEN


def test_one_refusal_is_bad_luck_and_two_are_a_hang(fake: FakeVllm, look) -> None:
    fake.refuse_completions = 500
    assert look() == ""
    assert look() == "it refuses to write one token: The engine answered 500: it has no time"
    fake.refuse_completions = 0
    assert look() == ""
    fake.refuse_completions = 500
    assert look() == ""


@pytest.mark.parametrize("status", [400, 404, 429])
def test_a_refusal_of_the_request_is_an_answer(fake: FakeVllm, look, status: int) -> None:
    fake.refuse_completions = status
    assert [look(), look()] == ["", ""]


def test_whether_an_unreachable_engine_hangs_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    assert probe(f"http://127.0.0.1:{free_port()}", 0.3) is None


def test_nothing_is_concluded_by_a_process_that_was_stopped(
    fake: FakeVllm, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.hung = lambda: True
    monkeypatch.setattr(liveness, "LONGEST_POLL_S", 0.01)
    assert probe(fake.url, 0.3) is None


def test_a_probe_ends_at_once_when_its_process_is_to_end(fake: FakeVllm) -> None:
    fake.hung = lambda: True
    began = time.monotonic()
    assert probe(fake.url, 60, progress(fake.url), lambda: True) is None
    assert time.monotonic() - began < 10


def test_probes_can_be_switched_off(engine: Watched) -> None:
    watching = Liveness(engine, ServingSettings(probe_after_s=0))
    watching.suspect()
    assert not watching.due()


def test_an_engine_that_is_not_ready_is_not_asked(engine: Watched, look, fake: FakeVllm) -> None:
    engine.state = "starting"
    look()
    assert fake.completed == []
