"""`understudy chat`, in a real terminal."""

import asyncio
import contextlib
import os
import pty
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from bot.answering.events import Delta, Event
from bot.cli.chat import _print_answer
from data import domains
from data.adapters import registry
from data.pairs import pairs
from data.pairs.pairs import Draft
from data.store.db import Store
from tests.bot.cli.conftest import Run, make_adapter
from tests.bot.conftest import add_replica
from tests.conftest import wait_until
from tests.serving.fake_vllm import FakeVllm, running


def test_an_answer_without_an_engine_names_its_source(run: Run, store: Store) -> None:
    run("domains", "add", "art")
    with store.write() as db:
        drafts = [Draft("Who painted the Mona Lisa?", "Leonardo da Vinci.")]
        pairs.add(db, domains.get(db, "art"), drafts, source="import", status="approved")

    said = run("chat", "art", input="Who painted the Mona Lisa?\nWhere is my car?\n\n").output

    assert "art: Leonardo da Vinci.\nApproved answer to:\n  Who painted the Mona Lisa? (app" in said
    assert "art: I don't have an approved answer to that." in said


def test_the_answer_of_a_fallback_says_so(
    run: Run, home: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNDERSTUDY_ANSWERS_MODE", "adapter")
    run("domains", "add", "art")
    made = make_adapter(store, "art", 1)
    with running(FakeVllm()) as vllm:
        with store.write() as db:
            registry.promote(db, made, "cli:test")
            add_replica(db, vllm.url)

        said = run("chat", "art", input="Why?\n\n").output

    assert "base: Hello there\nart@1 could not answer; the bare base did.\n" in said


@pytest.mark.parametrize(("pause", "told"), [(0.2, True), (0.0, False)])
async def test_a_long_wait_shows_a_notice(
    pause: float, told: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    async def answer() -> AsyncGenerator[Event, None]:
        await asyncio.sleep(pause)
        yield Delta("Because.")

    await _print_answer(answer(), notice_after_s=0.1)
    await asyncio.sleep(0.2)

    said = capsys.readouterr().out
    assert ("Waiting for an engine" in said, said.endswith("Because.\n")) == (told, True)


@pytest.mark.integration
@pytest.mark.timeout(60)
def test_ctrl_c_ends_it_while_a_question_is_typed(run: Run, home: Path) -> None:
    run("domains", "add", "art")
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "bot", "--config", str(home / "understudy.toml"), "chat"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=Path(__file__).parents[3],
    )
    said = b""

    def asks() -> bool:
        nonlocal said
        said += os.read(ours, 1000)
        return b"> " in said

    def interrupted() -> bool:
        """Send signals until it exits: one that arrives between the prompt and Python's read has
        no effect until the next. Wait in between, since a signal during the exit would change the
        exit code."""
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(5)
        return process.poll() is not None

    try:
        wait_until(asks, "the prompt", 20)
        wait_until(interrupted, "the end", 40)
        assert process.returncode == 1
    finally:
        process.kill()
        os.close(ours)
        os.close(theirs)
