"""How soon Slack gets its acknowledgement.

    python benchmarks/slack_ack.py [--busy] [--changing]

`understudy bot` runs over signed HTTP against a fake Slack and a fake vLLM. COMMANDS signed
commands are sent at the same moment, each over a connection of its own. The benchmark measures the
time from then until each acknowledgement, in several rounds after a small warm-up. On a busy
machine, the CPU time that the bot uses until the last acknowledgement is more telling.
`--changing` sends commands that change something, which are stored before they are acknowledged;
the others only show something. `--busy` keeps every core busy with processes of the priority that
tuning runs have.
"""

import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
import time
import urllib.parse
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import report

sys.path.insert(0, str(Path(__file__).parents[1]))

from data import domains
from data.adapters import placements
from data.adapters.registry import BASE_SERVED_NAME
from data.store.db import Store
from tests.conftest import free_port
from tests.fake_slack import FakeSlack
from tests.fake_slack.transports import SignedHttp, sign
from tests.fake_slack.workspace import BOT_TOKEN, SIGNING_SECRET
from tests.serving.fake_vllm import FakeVllm, running

COMMANDS = 500
WARM_UP = 50
ROUNDS = 9
PATH = "/slack/events"
CHANGING = "--changing" in sys.argv
BUSY = "import os\nos.nice(10)\nwhile True: pass"


def request(number: int, slack: FakeSlack, host: str) -> bytes:
    """A signed command, as bytes."""
    form = {
        "command": "/understudy",
        "text": "rollback" if CHANGING else "help",
        "user_id": f"U{number}",
        "team_id": "T1",
        "channel_id": "C1",
        "trigger_id": f"trigger{number}.{time.monotonic_ns()}",
        "response_url": slack.response_url(),
    }
    body, at = urllib.parse.urlencode(form).encode(), str(int(time.time()))
    head = (
        f"POST {PATH} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}\r\n"
        "Content-Type: application/x-www-form-urlencoded\r\n"
        f"X-Slack-Request-Timestamp: {at}\r\nX-Slack-Signature: {sign(body, at)}\r\n\r\n"
    )
    return head.encode() + body


async def acknowledged(slack: FakeSlack, port: int, count: int = COMMANDS) -> list[float]:
    """Milliseconds until each of `count` commands, sent at once, was acknowledged."""
    opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(count)]
    requests = [request(n, slack, f"127.0.0.1:{port}") for n in range(count)]
    began = time.perf_counter()
    for (_, writer), content in zip(opened, requests, strict=True):
        writer.write(content)

    async def answer(reader: asyncio.StreamReader) -> float:
        line = await reader.readline()
        if b" 200 " not in line:
            raise SystemExit(f"The bot answered {line!r}")
        return (time.perf_counter() - began) * 1000

    took = await asyncio.gather(*(answer(reader) for reader, _ in opened))
    for _, writer in opened:
        writer.close()
    return list(took)


@dataclass(frozen=True)
class Stage:
    """The bot that is measured, and what it works with."""

    slack: FakeSlack
    engine: FakeVllm
    port: int  # of the bot
    pid: int  # of the bot

    def cpu_ms(self) -> float:
        """CPU milliseconds that all threads of the bot have used so far. Linux only."""
        threads = Path(f"/proc/{self.pid}/task").glob("*/schedstat")
        return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e6


@contextlib.contextmanager
def bot(home: Path, port: int, slack: FakeSlack, engine: FakeVllm) -> Iterator[int]:
    """An `understudy bot`; its process id."""
    (home / "understudy.toml").write_text(
        f'[bot]\nport = {port}\n[answers]\nmode = "adapter"\n'
        f'[slack]\nmode = "http"\nbot_token = "{BOT_TOKEN}"\n'
        f'signing_secret = "{SIGNING_SECRET}"\napi_url = "{slack.api_url}"\n'
    )
    with Store(home / "understudy.db") as store, store.write() as db:
        domains.create(db, "bench", system_prompt="Answer briefly.")
        placements.record_heartbeat(db, "local", engine.url, "pocket", "ready")
        db.execute("UPDATE replicas SET heartbeat_at = heartbeat_at + 3600000000")
    environment = {**os.environ, "UNDERSTUDY_CONFIG": str(home / "understudy.toml")}
    process = subprocess.Popen([sys.executable, "-m", "bot", "bot"], env=environment)
    try:
        yield process.pid
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def busy() -> Iterator[None]:
    """Keep every core busy with something else."""
    cores = range(os.cpu_count() or 1)
    others = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in cores]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


@contextlib.asynccontextmanager
async def everything(home: Path) -> AsyncIterator[Stage]:
    port, slack = free_port(), FakeSlack()
    await slack.start()
    slack.transport = SignedHttp(f"http://127.0.0.1:{port}{PATH}")
    with (
        running(FakeVllm(held={BASE_SERVED_NAME: "/base"})) as engine,
        bot(home, port, slack, engine) as pid,
    ):
        while True:
            with contextlib.suppress(ConnectionError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                break
            await asyncio.sleep(0.1)
        yield Stage(slack, engine, port, pid)
    await slack.stop()


async def main() -> None:
    with tempfile.TemporaryDirectory() as home, contextlib.ExitStack() as others:
        async with everything(Path(home)) as stage:
            if "--busy" in sys.argv:
                others.enter_context(busy())
            rounds: list[list[float]] = []
            cpu_ms: list[float] = []
            await acknowledged(stage.slack, stage.port, WARM_UP)
            await asyncio.sleep(2)
            for _ in range(ROUNDS):
                before = stage.cpu_ms()
                rounds.append(await acknowledged(stage.slack, stage.port))
                cpu_ms.append(stage.cpu_ms() - before)
                await asyncio.sleep(2)  # what the commands said is sent
    p99 = [report.percentile(one, 0.99) for one in rounds]
    report.table(
        ("what", "p50, ms", "p99, ms", "p99 of the worst round, ms"),
        [
            (
                "acknowledgement",
                report.median([took for one in rounds for took in one]),
                report.median(p99),
                max(p99),
            ),
        ],
    )
    print(f"CPU time of the bot until the last of {COMMANDS}: {report.median(cpu_ms):.0f} ms")
    report.finish(
        benchmark="slack_ack",
        busy="--busy" in sys.argv,
        changing=CHANGING,
        ack_p99_ms=round(report.median(p99), 1),
        ack_worst_p99_ms=round(max(p99), 1),
        bot_cpu_ms_until_the_last=round(report.median(cpu_ms), 1),
    )


if __name__ == "__main__":
    asyncio.run(main())
