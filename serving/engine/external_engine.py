"""An external engine, which is watched but not started or stopped here. It has the same interface
as `engine.py`.

An external engine must see the adapters' folder at the same path and serve the configured base
model. Another base model would load the adapters without an error and answer nonsense.
"""

import logging
import threading
from collections.abc import Callable
from pathlib import PurePath
from typing import Any
from urllib.parse import urlsplit

from data.adapters.placements import STOPPED
from data.config.settings import Settings
from serving.engine.capacity import Capacity
from serving.engine.engine import EngineFailed, State
from serving.engine.management_api import HEALTH_TIMEOUT_S, EngineRefused, ask, healthy

log = logging.getLogger(__name__)

POLL_S = 1.0
NOT_OURS = "It is not ours to start again: restart it where it runs."


class ExternalEngine:
    """Call `start` once and `stop` once; `state` is its current state."""

    capacity: Capacity | None = None  # vLLM does not report it
    next_capacity: Capacity | None = None
    failure: EngineFailed | None = None
    lora_problem: str | None = None  # nor its LoRA operations

    def __init__(self, settings: Settings, url: str) -> None:
        self.settings = settings
        self.url = url
        self.name = urlsplit(self.url).netloc
        self.state: State = "starting"
        self.detail = "starting"
        self.hung = ""  # why it counts as hung; '' if it does not
        self.starts = 0  # how often the engine became ready
        self.on_change: Callable[[], None] = lambda: None  # called by the watching thread
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name=self.name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, grace_s: float = 0) -> None:
        """Stop watching; the engine keeps running."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def restart(self) -> None:
        """Do nothing: only its owner can restart it, as `placements.request_restart` says."""

    def report_hung(self, starts: int, why: str) -> None:
        """The engine writes nothing any more: no questions are sent there until it does."""
        self.hung = why

    def report_alive(self) -> None:
        self.hung = ""

    def _watch(self) -> None:
        while not self._stop.is_set():
            if not healthy(self.url):
                self.hung = ""  # by its owner it may be restarted meanwhile
                self._change("down", f"{self.url} does not answer")
            elif self.hung:
                self._change("down", f"{self.url} hangs ({self.hung}). {NOT_OURS}")
            else:
                self._check_base()
            self._stop.wait(POLL_S)
        self._change("down", STOPPED)

    def _check_base(self) -> None:
        """Check which base model it serves: another engine may have started at its address."""
        try:
            wrong = other_base(self.url, self.settings)
        except EngineRefused as error:
            self._change("down", str(error))
            return
        if wrong:
            self._change("down", wrong)
            return
        if self.state != "ready":
            self.starts += 1
            self._change("ready", "")

    def _change(self, state: State, detail: str) -> None:
        if (state, detail) != (self.state, self.detail):
            log.info("%s is %s. %s", self.name, state, detail)
            self.state, self.detail = state, detail
            self.on_change()


def other_base(url: str, settings: Settings) -> str:
    """A sentence when the engine serves another base model than the configured one; '' when it
    does not, or does not say. Only the names of folders are compared, because paths may differ on
    its machine. Raises EngineRefused."""
    try:
        cards = ask(f"{url}/v1/models", timeout=HEALTH_TIMEOUT_S)["data"]
        served = [name for card in cards if not card.get("parent") for name in _names(card)]
    except (KeyError, TypeError, AttributeError) as error:
        raise EngineRefused(f"The server at {url} is not vLLM.") from error
    ours = {PurePath(settings.base.model).name, PurePath(settings.base.path).name}
    if not served or any(PurePath(name).name in ours for name in served):
        return ""
    return (
        f"The engine at {url} serves {served[0]}, not {settings.base.model}. Start it with that "
        "base model, or set [base] model."
    )


def _names(card: dict[str, Any]) -> list[str]:
    """The names of a served model: its root first, then its id."""
    return [str(card[key]) for key in ("root", "id") if card.get(key)]
