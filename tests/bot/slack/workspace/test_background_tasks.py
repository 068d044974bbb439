"""The registry of tasks that run after an acknowledgement."""

import asyncio
import logging

import pytest

from bot.slack.workspace.background_tasks import BackgroundTasks


async def test_drain_waits_for_tasks_that_end_in_time() -> None:
    tasks, done = BackgroundTasks(), []

    async def work() -> None:
        await asyncio.sleep(0.05)
        done.append(1)

    tasks.start(work(), "work")
    await tasks.drain(5)
    assert done == [1]
    assert tasks.running == 0


async def test_drain_cancels_the_rest_and_waits_for_its_cleanup() -> None:
    tasks, tidied = BackgroundTasks(), []

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.01)
            tidied.append(1)

    tasks.start(work(), "work")
    await tasks.drain(0.05)
    assert tidied == [1]


async def test_a_failure_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    tasks = BackgroundTasks()

    async def work() -> None:
        raise ValueError

    tasks.start(work(), "the broken work")
    await tasks.drain(1)
    assert (
        caplog.records[0].getMessage(),
        caplog.records[0].levelno,
    ) == ("the broken work failed", logging.ERROR)
