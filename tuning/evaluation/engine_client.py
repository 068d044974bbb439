"""Asks the engines that will serve an adapter, over HTTP, as people's questions are asked.

`tuning` and `serving` meet in the store: an adapter that is registered as `evaluating` is loaded
by the engines like any other, and `placements` says where it is held. Nobody but this module asks
for it then. Where no engine runs, or they fail, the caller is told so in a sentence and falls back
on the trainer's own answers.
"""

import http.client
import logging
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import orjson

from data.adapters import placements
from data.adapters.placements import Placement, Replica
from data.adapters.registry import BASE_SERVED_NAME, Adapter
from data.retry import Backoff, retry
from data.store.db import Store
from data.store.errors import Unavailable
from tuning.evaluation.eval_sets import EvalQuestion
from tuning.evaluation.metrics import GeneratedAnswer

log = logging.getLogger(__name__)

AT_ONCE = 16  # questions; the engine has people's to answer, too
RETRIES = Backoff(attempts=3, growth=1.0)  # of a question, each at the next engine
LOOK_S = 0.2  # between looks at the store
ANSWER_TIMEOUT_S = 120.0


class NoEngineReady(Unavailable):
    """No engine can be asked; says why."""


class RequestRefused(Unavailable):
    """Every engine there is refuses to serve the adapter; says what is wrong with it."""


def wait_until_held(
    store: Store,
    adapter: Adapter,
    patience_s: float,
    clock: Callable[[], float] = time.monotonic,
) -> list[Placement]:
    """Wait until an engine holds the adapter; returns where it is held. Raises NoEngine when none
    runs, or none has taken it after `patience_s`, Refused when all that run cannot serve it."""
    deadline = clock() + patience_s
    while True:
        ready = {replica.name for replica in placements.ready(store.db)}
        at = [p for p in placements.of_adapter(store.db, adapter.id) if p.replica in ready]
        if held := [p for p in at if p.state == "loaded"]:
            return held
        coming = placements.coming_back(store.db)
        if not coming:
            raise NoEngineReady("no engine is running")
        if len([p for p in at if p.given_up]) == coming:
            raise RequestRefused(at[0].error)
        if clock() > deadline:
            raise NoEngineReady(f"no engine had taken it after {patience_s:.0f} s")
        time.sleep(LOOK_S)


def answers(
    store: Store,
    adapter: Adapter | None,
    asked: Sequence[EvalQuestion],
    max_model_len: int,
    beat: Callable[[int], None] = lambda _: None,
) -> list[GeneratedAnswer]:
    """What `adapter` (None: the bare base) answers to each question, in order, greedily. Raises
    NoEngine when an engine cannot be reached or does not answer."""
    ready = placements.ready(store.db)
    if adapter is not None:
        ready = placements.holders(store.db, ready).get(adapter.id, [])
    if not ready:
        name = adapter.name if adapter is not None else "the bare base"
        raise NoEngineReady(f"no engine holds {name} any more")
    served_name = BASE_SERVED_NAME if adapter is None else adapter.served_name

    def ask_one(numbered: tuple[int, EvalQuestion]) -> GeneratedAnswer:
        number, question = numbered
        body = _request(served_name, question, max_model_len)
        return _asked(ready, number, body)

    found: list[GeneratedAnswer] = []
    with ThreadPoolExecutor(min(AT_ONCE, max(1, len(asked)))) as pool:
        for one in pool.map(ask_one, enumerate(asked)):
            found.append(one)
            beat(len(found))
    return found


@dataclass(frozen=True)
class Rendering:
    """Whether engines make of a conversation the very token ids that were trained on."""

    compared: int  # questions, by every engine that holds the adapter
    differs: str = ""  # a sentence about the first that differs, '' when none does
    not_compared: str = ""  # why an engine was not asked


def rendering(store: Store, adapter: Adapter, asked: Sequence[EvalQuestion]) -> Rendering:
    """Hold the ids that engines make of questions against those that were trained on: another chat
    template in an engine would ask the adapter what it never learned, and nothing would say so."""
    ready = placements.holders(store.db, placements.ready(store.db)).get(adapter.id, [])
    not_compared = "" if ready else f"no engine holds {adapter.name} any more"
    for engine in ready:
        for question in asked:
            try:
                ids = _ids(engine.url, adapter.served_name, question)
            except NoEngineReady as error:
                not_compared = f"{engine.name}: {error}"
                break
            if ids != question.prompt:
                return Rendering(
                    len(asked),
                    f"{engine.name} makes other tokens of a conversation than were trained on, "
                    f"from token {_parted(ids, question.prompt) + 1} of {len(question.prompt)} on: "
                    "its chat template is not the base model's.",
                )
    return Rendering(0 if not_compared else len(asked), not_compared=not_compared)


def _ids(url: str, served_name: str, question: EvalQuestion) -> tuple[int, ...]:
    """What an engine makes of a question, with the beginning of an answer."""
    body = {
        "model": served_name,
        "messages": list(question.messages),
        "add_generation_prompt": True,
    }
    found = _posted(f"{url}/tokenize", body)
    try:
        return tuple(int(token) for token in found["tokens"])
    except (KeyError, TypeError, ValueError) as error:
        raise NoEngineReady(f"what answers at {url} is not a vLLM") from error


def _parted(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens both have in common at the beginning."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(one), len(other)))


def _request(served_name: str, question: EvalQuestion, max_model_len: int) -> dict[str, Any]:
    """As `serving/client.py` asks, but for the stream: every parameter is sent, so that no default
    of a model or an engine leaks in."""
    return {
        "model": served_name,
        "messages": list(question.messages),
        "max_tokens": max(1, min(question.most_tokens, max_model_len - len(question.prompt))),
        "temperature": 0.0,
        "top_p": 1.0,
        "top_k": 0,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
    }


def _asked(engines: Sequence[Replica], number: int, body: dict[str, Any]) -> GeneratedAnswer:
    """Ask one engine, and the next one when it fails."""

    def engine(attempt: int) -> Replica:
        return engines[(number + attempt) % len(engines)]

    return retry(
        lambda attempt: _answer(engine(attempt).url, body),
        RETRIES,
        on=NoEngineReady,
        on_error=lambda error, attempt: log.warning(
            "%s did not answer: %s", engine(attempt).name, error
        ),
    )


def _answer(url: str, body: dict[str, Any]) -> GeneratedAnswer:
    found = _posted(f"{url}/v1/chat/completions", body)
    try:
        choice, model = found["choices"][0], found["model"]
        answer = GeneratedAnswer(str(choice["message"]["content"] or "").strip(),
                        choice["finish_reason"] == "length")  # fmt: skip
    except (KeyError, IndexError, TypeError) as error:
        raise NoEngineReady(f"what answers at {url} is not a vLLM") from error
    if model != body["model"]:
        raise NoEngineReady(f"the engine answered as {model!r} instead of {body['model']!r}")
    return answer


def _posted(url: str, body: dict[str, Any]) -> Any:
    """The JSON that an engine answers. Raises NoEngine."""
    request = urllib.request.Request(  # noqa: S310 - an engine's own URL, from the store
        url, data=orjson.dumps(body), headers={"Content-Type": "application/json"}
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=ANSWER_TIMEOUT_S) as response:
            return orjson.loads(response.read())
    except urllib.error.HTTPError as error:
        with error:
            words = error.read()[:300].decode(errors="replace")
        raise NoEngineReady(f"the engine answered {error.code}: {words}") from error
    except orjson.JSONDecodeError as error:
        raise NoEngineReady(f"what answers at {url} is not a vLLM") from error
    except (OSError, http.client.HTTPException) as error:
        raise NoEngineReady(f"the engine at {url} cannot be reached: {error}") from error
