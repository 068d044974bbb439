"""What one hostile address costs the others at the HTTP server.

    python benchmarks/hostile_address.py

Runs the bot without an engine in a process of its own. One client at 127.0.0.1 asks for
`/v1/models` while another process at 127.0.0.2 attacks, and, for comparison, while that process
only uses a core. Both kinds of rounds alternate, so that a busy machine slows both. The figures are
the client's p50 and p99, their ratio, and the memory that the bot gained at most.
"""

import argparse
import contextlib
import multiprocessing
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import report

sys.path.insert(0, str(Path(__file__).parents[1]))

from data.people import keys
from data.store.db import Store
from tests.conftest import free_port

HOSTILE = "127.0.0.2"
MIB = 1 << 20


def connected(port: int) -> socket.socket:
    made = socket.create_connection(("127.0.0.1", port), 5, (HOSTILE, 0))
    made.settimeout(5)
    return made


def pour(port: int, begin: bytes, rest: bytes, mib: int) -> None:
    """Send `mib` MiB over one connection, again and again."""
    while True:
        with contextlib.suppress(OSError), connected(port) as made:
            made.sendall(begin)
            for _ in range(mib * MIB // len(rest)):
                made.sendall(rest)


def endless_line(port: int) -> None:
    pour(port, b"GET /", b"a" * 65_536, 40)


def endless_headers(port: int) -> None:
    pour(port, b"GET / HTTP/1.1\r\n", b"a: bbbbbbbbbbbbbbb\r\n" * 4_096, 200)


def connections(port: int) -> None:
    """As many half-sent requests as it can hold."""
    held: list[socket.socket] = []
    while True:
        with contextlib.suppress(OSError):
            made = connected(port)
            made.sendall(b"GET / HT")
            held.append(made)
        held = held[-1_000:]
        time.sleep(0.001)


def malformed(port: int) -> None:
    while True:
        with contextlib.suppress(OSError), connected(port) as made:
            made.sendall(b"nonsense\r\n\r\n")
            made.recv(1_000)


def spin(port: int) -> None:
    """What an attacker on the same machine takes anyway: a core."""
    while True:
        hash(port)


ATTACKS: tuple[Callable[[int], None], ...] = (endless_line, endless_headers, connections, malformed)


@contextlib.contextmanager
def bot(home: Path) -> Iterator[tuple[int, int, str]]:
    """The bot's port, its process id, and a key."""
    with Store(home / "understudy.db") as store, store.write() as db:
        _, key = keys.create(db, "load", "member", "benchmark")
    port = free_port()
    environ = os.environ | {"UNDERSTUDY_HOME": str(home), "UNDERSTUDY_BOT_PORT": str(port)}
    with subprocess.Popen(
        [sys.executable, "-m", "bot", "bot"], env=environ, stderr=subprocess.DEVNULL
    ) as process:
        try:
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline:
                with contextlib.suppress(httpx.HTTPError):
                    httpx.get(f"http://127.0.0.1:{port}/health")
                    break
                time.sleep(0.1)
            yield port, process.pid, key
        finally:
            process.terminate()


def resident(pid: int) -> int:
    """MiB."""
    fields = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE") // MIB


def ask(client: httpx.Client, seconds: float) -> list[float]:
    """Ask every 5 ms; returns the milliseconds of each answer."""
    took, until = [], time.monotonic() + seconds
    while time.monotonic() < until:
        began = time.perf_counter()
        client.get("/v1/models").raise_for_status()
        took.append((time.perf_counter() - began) * 1_000)
        time.sleep(0.005)
    return took


def during(
    attack: Callable[[int], None], port: int, pid: int, client: httpx.Client, seconds: float
) -> tuple[list[float], int]:
    """The milliseconds of each answer during an attack, and the bot's memory at its end, in MiB."""
    attacker = multiprocessing.Process(target=attack, args=(port,))
    attacker.start()
    time.sleep(0.3)
    took, memory = ask(client, seconds), resident(pid)
    attacker.kill()
    attacker.join()
    time.sleep(0.3)
    return took, memory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="of a round")
    args = parser.parse_args()
    lines, figures = [], {}
    with tempfile.TemporaryDirectory() as home, bot(Path(home)) as (port, pid, key):
        headers = {"Authorization": f"Bearer {key}"}
        url = f"http://127.0.0.1:{port}"
        with httpx.Client(base_url=url, headers=headers, timeout=60) as client:
            ask(client, 1)
            for attack in ATTACKS:
                quiet: list[float] = []
                hostile: list[float] = []
                ratios, before, most = [], resident(pid), 0
                for _ in range(args.rounds):
                    alone, _ = during(spin, port, pid, client, args.seconds)
                    attacked, memory = during(attack, port, pid, client, args.seconds)
                    most = max(most, memory)
                    quiet += alone
                    hostile += attacked
                    p99_alone = report.percentile(alone, 0.99)
                    ratios.append(report.percentile(attacked, 0.99) / p99_alone)
                p50s = [report.median(quiet), report.median(hostile)]
                p99s = [report.percentile(quiet, 0.99), report.percentile(hostile, 0.99)]
                ratio, name = statistics.median(ratios), attack.__name__.replace("_", " ")
                lines.append([name, *p50s, *p99s, ratio, most - before])
                figures[attack.__name__] = {"p50_ms": p50s, "p99_ms": p99s, "ratio": ratio}
    headers_row = ["attack", "p50 alone, ms", "p50, ms", "p99 alone, ms", "p99, ms"]
    report.table([*headers_row, "p99 ratio, median of rounds", "memory gained, MiB"], lines)
    report.finish(**figures)


if __name__ == "__main__":
    main()
