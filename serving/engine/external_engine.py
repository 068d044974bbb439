"""An engine that somebody else runs, watched from here: the same face as `engine.py`'s, without
the power to start or stop it.

It must see the adapters' folder at the same path, and serve our base model: adapters of another
one would be loaded without a word and answer nonsense.
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


class ExternalEngine:
    """`start` it once, `stop` it once; `state` says how it is between."""

    sizes: Capacity | None = None  # vLLM does not tell them
    next_sizes: Capacity | None = None
    failure: EngineFailed | None = None

    def __init__(self, settings: Settings, url: str) -> None:
        self.settings = settings
        self.url = url
        self.name = urlsplit(self.url).netloc
        self.state: State = "starting"
        self.detail = "starting"
        self.lives = 0  # how often it became ready
        self.on_change: Callable[[], None] = lambda: None  # called by the watching thread
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name=self.name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, grace_s: float = 0) -> None:
        """Only the watching ends."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def restart(self) -> None:
        """It is not ours to restart; `placements.ask_restart` says so to whoever asks."""

    def _watch(self) -> None:
        while not self._stop.is_set():
            if not healthy(self.url):
                self._change("down", f"{self.url} does not answer")
            elif self.state != "ready":
                self._meet()
            self._stop.wait(POLL_S)
        self._change("down", STOPPED)

    def _meet(self) -> None:
        """It answers again: see whom we have before us."""
        try:
            stranger = other_base(self.url, self.settings)
        except EngineRefused as error:
            self._change("down", str(error))
            return
        if stranger:
            self._change("down", stranger)
            return
        self.lives += 1
        self._change("ready", "")

    def _change(self, state: State, detail: str) -> None:
        if (state, detail) != (self.state, self.detail):
            log.info("%s is %s. %s", self.name, state, detail)
            self.state, self.detail = state, detail
            self.on_change()


def other_base(url: str, settings: Settings) -> str:
    """A sentence when the engine serves another base model than ours, '' when it does not, or
    does not say. Folders may lie elsewhere on its machine, so their names count, not their paths.
    Raises EngineRefused."""
    try:
        cards = ask(f"{url}/v1/models", timeout=HEALTH_TIMEOUT_S)["data"]
        said = [name for card in cards if not card.get("parent") for name in _names(card)]
    except (KeyError, TypeError, AttributeError) as error:
        raise EngineRefused(f"What answers at {url} is not a vLLM.") from error
    ours = {PurePath(settings.base.model).name, PurePath(settings.base.path).name}
    if not said or any(PurePath(name).name in ours for name in said):
        return ""
    return (
        f"The engine at {url} serves {said[0]}, not {settings.base.model}. Start it with that "
        "base model, or set [base] model."
    )


def _names(card: dict[str, Any]) -> list[str]:
    """What a model card says of which model it is: its root first, then the name it goes by."""
    return [str(card[key]) for key in ("root", "id") if card.get(key)]
