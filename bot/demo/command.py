"""The command `understudy demo`."""

import asyncio
import logging
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click

from bot.cli import interruption, terminal
from bot.cli.context import App, pass_app
from data.store.errors import Conflict, UnderstudyError

log = logging.getLogger(__name__)


@click.command()
@click.option("--once", is_flag=True, help="Run the whole loop without a person, then exit.")
@click.option(
    "--home",
    type=click.Path(path_type=Path, file_okay=False),
    help="The folder of the demo. Default: ./understudy-demo, or a temporary folder with --once.",
)
@click.option(
    "--port", type=int, help="Port of the bot. Default: 8080, or a free port with --once."
)
@click.option(
    "--base",
    default="pocket",
    show_default=True,
    metavar="MODEL",
    help="The base model. smollm2-135m is a real one; it is downloaded (93 MB) and converted once.",
)
@pass_app
def demo(app: App, once: bool, home: Path | None, port: int | None, base: str) -> None:
    """Train a bot on questions about Understudy, serve it, and show what it learned.

    This needs no GPU and no account, and with the pocket base no download. With --once, the last
    line is one JSON object, and the exit code is 0 if every step succeeded.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the processes are stopped
    interruption.heed_ctrl_c()
    if once:
        scratch = home or Path(tempfile.mkdtemp(prefix="understudy-demo-"))
        raise SystemExit(_once(scratch, port, base, keep=home is not None))
    _stay(home or _default_home(base), port or 8080, base)


def _default_home(base: str) -> Path:
    """Each base has a folder of its own, because adapters do not work on another."""
    if base == "pocket":
        return Path("understudy-demo")
    return Path(f"understudy-demo-{Path(base).stem.lower()}")


def _stay(home: Path, port: int, base: str) -> None:

    from bot.demo import show, stage

    if stage.in_use(port):
        raise Conflict(f"Port {port} is in use. Choose another: `understudy demo --port N`.")
    console = terminal.console()
    began = time.monotonic()
    set_up = stage.prepare(home, port, stage.free_port(), console, base)
    try:
        stage.start(set_up)
        asyncio.run(show.quoted(set_up))
        adapter = stage.first_adapter(set_up)
        held = stage.wait_until_loaded(set_up, adapter)
        console.print(f"vLLM has loaded {adapter.name} in {held.load_ms:.0f} ms", highlight=False)
        asyncio.run(show.side_by_side(set_up, adapter))
        console.print(f"Total time: {time.monotonic() - began:.0f} s", highlight=False)
        show.what_to_try(set_up)
        while True:
            set_up.supervisor.revive()
            time.sleep(0.5)
    except KeyboardInterrupt:
        option = "" if base == "pocket" else f" --base {base}"
        console.print(f"\nStopping. Run `understudy demo{option}` to continue from here.")
    finally:
        set_up.supervisor.stop()
        set_up.store.close()


def _once(home: Path, port: int | None, base: str, keep: bool) -> int:
    import orjson

    from bot.demo import stage

    console = terminal.console(stderr=True)
    began = time.monotonic()
    result: dict[str, Any] = {"ok": False}
    set_up = None
    try:
        own_port = port or stage.free_port()
        set_up = stage.prepare(home, own_port, stage.free_port(), console, base)
        result |= _loop(set_up, began)
        result["ok"] = True
    except (UnderstudyError, OSError) as error:
        result["error"] = str(error)
    except KeyboardInterrupt:
        result["error"] = "interrupted"
    except Exception as error:  # the last line reports every error
        log.exception("The demo failed")
        result["error"] = f"{type(error).__name__}: {error}"
    finally:
        if set_up is not None:
            set_up.supervisor.stop()
            set_up.store.close()
    result["seconds"] = round(time.monotonic() - began, 1)
    if result["ok"] and not keep:
        shutil.rmtree(home, ignore_errors=True)
    elif not result["ok"]:
        result["home"] = str(home)
    terminal.echo(orjson.dumps(result).decode())
    return 0 if result["ok"] else 1


def _loop(set_up: Any, began: float) -> dict[str, Any]:
    from bot.demo import rounds, show, stage

    stage.start(set_up)
    quoted_s = asyncio.run(show.quoted(set_up))
    adapter = stage.first_adapter(set_up)
    held = stage.wait_until_loaded(set_up, adapter)
    asyncio.run(show.side_by_side(set_up, adapter))
    first_answer_s = time.monotonic() - began
    golden = adapter.scores.get("golden") or {}
    figures = {
        "base_score": golden.get("base_f1"),
        "adapter_score": golden.get("f1"),
        "exact": golden.get("exact"),
        "hot_load_ms": round(held.load_ms or 0.0, 1),
        "first_quoted_s": round(quoted_s, 1),
        "first_answer_s": round(first_answer_s, 1),
    }
    return figures | asyncio.run(rounds.run_round(set_up, adapter))
