"""Notices an engine that accepts requests but writes nothing any more.

vLLM's `/health` says that its API server runs. Its core is another process: if that one hangs, the
server goes on accepting requests, and every one of them waits until its time is over. So an engine
from which nothing came for `[serving] probe_after_s` is asked for one token. If it has not written
it within `[serving] probe_timeout_s`, it hangs.

An engine that is busy does not hang, however long the token takes: what vLLM's metrics tell about
its core (tokens, the use of the cache, the time of the latest step) changes while anything is
written or read, and counts as a sign of life. No adapter is being loaded during a probe, because
the thread that loads adapters is the one that calls `Liveness.look`.
"""

import http.client
import logging
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

from data import engine_http
from data.config.settings import ServingSettings
from serving.engine.management_api import EngineRefused, ask

log = logging.getLogger(__name__)

POLL_S = 0.5  # between two looks at an engine that was asked for a token
LONGEST_POLL_S = 5.0  # after a longer one, this process itself had been stopped
METRICS_TIMEOUT_S = 5.0
TOKEN = 5  # of the prompt; any will do
REFUSED = "it refuses to write one token: "
CORE_METRICS = (
    "vllm:generation_tokens_total",
    "vllm:prompt_tokens_total",
    "vllm:kv_cache_usage_perc",
    "vllm:lora_requests_info",  # the time of the latest step
)

Progress = tuple[str, ...]


class Probed(Protocol):
    """What is needed of `engine.Engine` and `external_engine.ExternalEngine`."""

    url: str
    state: Any
    starts: int
    hung: str  # why it counts as hung; '' if it does not

    def report_hung(self, starts: int, why: str) -> None:
        """`starts` is the number of its starts when it was asked."""

    def report_alive(self) -> None: ...


class Liveness:
    """Watches one engine. Call `look` repeatedly, from one thread."""

    def __init__(self, engine: Probed, serving: ServingSettings) -> None:
        self.engine = engine
        self.serving = serving
        self._starts = 0  # of the engine when it was looked at last
        self._progress: Progress = ()
        self._refused = False  # the latest probe
        self._due = 0.0

    def suspect(self) -> None:
        """A request to the engine was not answered: the next look asks it at once."""
        self._due = 0.0

    def due(self) -> bool:
        """Whether `look` would ask the engine. One that has just started has just answered."""
        if self.serving.probe_after_s == 0:
            return False
        if self._starts != self.engine.starts:
            self._starts, self._progress, self._refused = self.engine.starts, (), False
            self._wait(self.serving.probe_after_s)
        watched = self.engine.state == "ready" or bool(self.engine.hung)
        return watched and time.monotonic() >= self._due

    def look(self, stop: threading.Event) -> None:
        """If it is due, look for a sign of life, and tell the engine whether there was one. Takes
        at most `probe_timeout_s`, or until `stop` is set."""
        if not self.due():
            return
        before, self._progress = self._progress, progress(self.engine.url)
        why: str | None = ""
        if not before or before == self._progress:
            why = probe(self.engine.url, self.serving.probe_timeout_s, self._progress, stop.is_set)
            self._progress = progress(self.engine.url)  # which the probe has changed
        self._wait(self.serving.probe_after_s)
        if why is None or stop.is_set():
            return
        if why.startswith(REFUSED) and not self._refused:  # one refusal may be bad luck
            self._refused = True
            self._wait(POLL_S)
            return
        self._refused = why.startswith(REFUSED)
        if why:
            self.engine.report_hung(self._starts, why)
        else:
            self.engine.report_alive()

    def _wait(self, seconds: float) -> None:
        self._due = time.monotonic() + seconds


def progress(url: str) -> Progress:
    """What the engine's metrics tell about its core: different when anything has happened. Empty
    for a server without vLLM's metrics, or without an answer."""
    try:
        with engine_http.opener().open(f"{url}/metrics", timeout=METRICS_TIMEOUT_S) as answer:
            lines = answer.read().decode(errors="replace").splitlines()
    except (OSError, ValueError, http.client.HTTPException):
        return ()
    return tuple(line for line in lines if line.startswith(CORE_METRICS))


def probe(
    url: str,
    seconds: float,
    before: Progress = (),
    stopping: Callable[[], bool] = lambda: False,
) -> str | None:
    """Why the engine counts as hung, as a clause: it wrote no token within `seconds`, nor anything
    else since its progress was `before`, or it refuses to. '' if it does not hang. None if it is
    unknown: it cannot be reached, or this process was stopped meanwhile, or is about to end."""
    outcome: list[str | None] = []
    asking = threading.Thread(
        target=lambda: outcome.append(_refusal(url, seconds)), name="probe", daemon=True
    )
    asking.start()
    began = time.monotonic()
    while not stopping():
        looked = time.monotonic()
        asking.join(POLL_S)
        if not asking.is_alive():
            return outcome[0] if outcome else None
        if time.monotonic() - looked > LONGEST_POLL_S:
            return None
        now = progress(url)
        if before and now and now != before:
            return ""
        before = before or now
        if time.monotonic() - began > seconds:
            return f"it wrote no token in {seconds:g} s"
    return None


def _refusal(url: str, seconds: float) -> str | None:
    """Ask for one token. Returns why the engine refuses it; '' if it answers. A server that does
    not have the route is no vLLM, so nothing is known about it."""
    try:
        cards = ask(f"{url}/v1/models", timeout=seconds)["data"]
        base = next(card["id"] for card in cards if not card.get("parent"))
        body = {"model": base, "prompt": [TOKEN], "max_tokens": 1, "temperature": 0}
        ask(f"{url}/v1/completions", body, timeout=2 * seconds)
    except EngineRefused as error:
        if error.status is None:
            return None
        return f"{REFUSED}{error}" if error.status >= 500 else ""
    except (KeyError, TypeError, AttributeError, StopIteration):
        return None
    return ""
