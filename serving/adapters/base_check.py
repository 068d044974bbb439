"""Whether an engine answers requests for the bare base right while an adapter answers others.

vLLM's own LoRA operations for CPUs do not: such a request gets the adapter of the last slot. So an
engine that has just started is asked for the base twice: alone, and while an adapter of random
numbers, which is in every slot, answers. The tokens must be the same, and their log probabilities
the same up to rounding. Then the bare base is asked for by its own name, which is faster than the
all-zero adapter `base@0`.
"""

import http.client
import logging
import math
import secrets
import tempfile
import threading
import urllib.request
from pathlib import Path
from typing import Any

import orjson

from data import engine_http
from data.config.settings import Settings
from serving.adapters import zero_adapter
from serving.adapters.sync import held_adapters, load, unload
from serving.engine.command import BASE_MODEL_ID
from serving.engine.management_api import TIMEOUT_S, EngineRefused, ask

log = logging.getLogger(__name__)

PROBE = "probe-"  # the names of the random adapter begin with it
PROMPT = list(range(5, 21))  # token ids; any will do
TOKENS = 3  # of the base's answer
ROUNDING = 0.3  # nats; the random adapter changes log probabilities by far more
LENGTHS = (24, 96, 384)  # tokens of the adapter's answer, until it outlasts the base's

Answer = list[tuple[int, float]]  # each token with its log probability


def bare_base_is_right(url: str, settings: Settings, slots: int) -> bool:
    """Whether the engine at `url`, which has `slots` slots for adapters, may be asked for the bare
    base by its own name. Raises EngineRefused when it does not answer, Unavailable when the random
    adapter cannot be written."""
    names = [f"{PROBE}{number}" for number in range(slots)]
    with tempfile.TemporaryDirectory(prefix="understudy-probe-") as folder:
        try:
            zero_adapter.write_random(settings, Path(folder))
            for name in names:
                load(url, name, Path(folder))
            return _compare(url, names[-1])
        finally:  # before its files disappear
            for name in held_adapters(url):
                if name in names:
                    unload(url, name)


def _compare(url: str, probe: str) -> bool:
    alone = _answer(url, BASE_MODEL_ID)
    if same(alone, _answer(url, probe)):
        log.warning("The random adapter answers like the base, so nothing can be compared.")
        return False
    for length in LENGTHS:
        stream = _Stream(url, probe, length)
        stream.begun.wait(TIMEOUT_S)
        among = _answer(url, BASE_MODEL_ID)
        outlasted = not stream.ended.is_set()
        stream.join()
        if stream.error is not None:
            raise EngineRefused(f"The engine at {url} broke off an answer: {stream.error}")
        if outlasted:
            return same(alone, among)
    log.warning("No answer of the random adapter lasted long enough to compare.")
    return False


def same(one: Answer, other: Answer) -> bool:
    """Whether two answers are the same, up to rounding."""
    return len(one) == len(other) and all(
        token == its_token and math.isclose(p, its_p, rel_tol=0, abs_tol=ROUNDING)
        for (token, p), (its_token, its_p) in zip(one, other, strict=True)
    )


def _body(model: str, tokens: int) -> dict[str, Any]:
    return {
        "model": model,
        "prompt": PROMPT,
        "max_tokens": tokens,
        "temperature": 0,
        "ignore_eos": True,
        "cache_salt": secrets.token_hex(16),
    }


def _answer(url: str, model: str) -> Answer:
    body = _body(model, TOKENS) | {"logprobs": 1, "return_token_ids": True}
    answer = ask(f"{url}/v1/completions", body)
    try:
        choice = answer["choices"][0]
        return list(zip(choice["token_ids"], choice["logprobs"]["token_logprobs"], strict=True))
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise EngineRefused("The engine returns no token ids with log probabilities.") from error


class _Stream(threading.Thread):
    """An answer that is read while it is written."""

    def __init__(self, url: str, model: str, tokens: int) -> None:
        super().__init__(name="probe", daemon=True)
        self.begun, self.ended = threading.Event(), threading.Event()
        self.error: Exception | None = None
        self._request = urllib.request.Request(  # noqa: S310 - the engine's own URL
            f"{url}/v1/completions",
            data=orjson.dumps(_body(model, tokens) | {"stream": True}),
            headers={"Content-Type": "application/json"},
        )
        self.start()

    def run(self) -> None:
        try:
            with engine_http.opener().open(self._request, timeout=TIMEOUT_S) as lines:
                for line in lines:
                    if line.startswith(b"data:"):
                        self.begun.set()
        except (OSError, http.client.HTTPException) as error:
            self.error = error
        finally:
            self.ended.set()
            self.begun.set()
