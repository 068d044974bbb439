"""`understudy bot` as a process: how it starts, stops, and what a kill leaves behind."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from bot import app
from data.config.settings import BotSettings, Settings, SlackSettings
from data.conversations import conversations
from data.store.errors import Invalid, Unavailable
from tests.bot.conftest import Bot
from tests.conftest import free_port, wait_until
from tests.serving.fake_vllm import HANG, words

ASK: dict[str, Any] = {
    "model": "helpdesk",
    "messages": [{"role": "user", "content": "What is a run?"}],
}


class Process:
    """A second service on the same store, as `understudy bot` runs it."""

    def __init__(self, bot: Bot) -> None:
        self.port = free_port()
        home = str(bot.settings.home)
        self.popen = subprocess.Popen(
            [sys.executable, "-m", "bot", "bot"],
            env=os.environ
            | {
                "UNDERSTUDY_HOME": home,
                "UNDERSTUDY_BOT_PORT": str(self.port),
                "UNDERSTUDY_ANSWERS_MODE": "adapter",
            },
            stderr=subprocess.PIPE,
        )
        self.client = httpx.Client(
            base_url=f"http://127.0.0.1:{self.port}",
            headers={"Authorization": f"Bearer {bot.secrets['member']}"},
            verify=False,
            timeout=20,
        )

    def healthy(self) -> bool:
        assert self.popen.poll() is None
        with contextlib.suppress(httpx.ConnectError):
            return self.client.get("/health").status_code == 200
        return False

    def listening(self) -> bool:
        with contextlib.suppress(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", self.port)).close()
            return True
        return False


@pytest.fixture
def process(bot: Bot) -> Iterator[Process]:
    running = Process(bot)
    wait_until(running.healthy, "the service to be healthy")
    yield running
    running.popen.kill()
    with running.popen:  # waits, and closes its pipe
        pass


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_service_after_the_answers_in_progress(
    bot: Bot, process: Process, number: signal.Signals
) -> None:
    bot.vllm.say = lambda body: words(body["model"], *["word "] * 3000)
    got: list[str] = []

    def read() -> None:
        asked = ASK | {"stream": True}
        with process.client.stream("POST", "/v1/chat/completions", json=asked) as response:
            got.extend(response.iter_lines())

    reader = threading.Thread(target=read)
    reader.start()
    wait_until(lambda: len(bot.vllm.asked) == 1, "the answer to begin")
    process.popen.send_signal(number)
    reader.join()

    assert "data: [DONE]" in got
    assert process.popen.wait(20) == 0
    assert process.popen.stderr is not None
    assert b"Traceback" not in process.popen.stderr.read()
    assert [r.status for r in bot.replies()] == ["done"]


def test_a_second_interrupt_cancels_the_answers_and_records_them(
    bot: Bot, process: Process
) -> None:
    bot.vllm.say = lambda body: [*words(body["model"], "One")[:2], HANG]
    asked = ASK | {"stream": True}
    with process.client.stream("POST", "/v1/chat/completions", json=asked) as response:
        lines = response.iter_lines()
        while "One" not in next(lines):
            pass
        process.popen.send_signal(signal.SIGINT)
        wait_until(lambda: not process.listening(), "the service to take nothing new")
        process.popen.send_signal(signal.SIGINT)

        assert process.popen.wait(20) == 0

    (reply,) = bot.replies()
    assert reply.status == "partial"  # not its reader's doing, so evidence about nobody
    assert conversations.exchange(bot.store.db, reply.id) == ("What is a run?", "One")


def test_a_killed_service_loses_nothing_that_it_acknowledged(bot: Bot, process: Process) -> None:
    acknowledged: list[str] = []

    def ask() -> None:
        with contextlib.suppress(httpx.TransportError):
            while True:
                answer = process.client.post("/v1/chat/completions", json=ASK)
                acknowledged.append(answer.json()["id"])

    askers = [threading.Thread(target=ask) for _ in range(4)]
    for asker in askers:
        asker.start()
    wait_until(lambda: len(acknowledged) >= 50, "fifty answers")
    process.popen.kill()
    for asker in askers:
        asker.join()

    assert len(acknowledged) >= 50
    for reply_id in acknowledged:
        assert conversations.reply(bot.store.db, reply_id).status == "done"
        assert conversations.exchange(bot.store.db, reply_id) == ("What is a run?", "Hello there")


def test_a_port_in_use(tmp_path_factory: pytest.TempPathFactory) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings = Settings(home=tmp_path_factory.mktemp("home"), bot=BotSettings(port=port))

        with pytest.raises(
            Unavailable, match=f"Cannot listen on 127.0.0.1:{port}: Address already in use. Perhaps"
        ):
            app.run(settings)


def test_missing_slack_settings_are_reported_at_the_start(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    settings = Settings(
        home=tmp_path_factory.mktemp("home"),
        bot=BotSettings(port=free_port()),
        slack=SlackSettings(mode="socket"),
    )

    with pytest.raises(Invalid, match="bot_token is missing"):
        app.run(settings)


@pytest.mark.integration
def test_the_front_end_needs_neither_torch_nor_vllm() -> None:
    script = (
        "import sys, bot.app, bot.slack.app\n"
        "heavy = {'torch', 'transformers', 'vllm', 'peft', 'scipy'} & set(sys.modules)\n"
        "print(sorted(heavy))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == "[]"
