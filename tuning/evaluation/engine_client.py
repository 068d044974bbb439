"""Asks the engines that will serve an adapter, over HTTP, in the same way as people's questions.

`tuning` and `serving` communicate through the store: engines load an adapter that is registered as
`evaluating` like any other, and `placements` says which engines hold it. Only this module uses it
at that time. If no engine is running, or engines fail, the error says so and the caller falls back
to the trainer's own answers."""

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

from data import engine_http
from data.adapters import placements
from data.adapters.placements import Placement, Replica
from data.adapters.registry import Adapter
from data.retry import Backoff, retry
from data.store.db import Store
from data.store.errors import Unavailable
from tuning.evaluation.eval_sets import EvalQuestion
from tuning.evaluation.metrics import GeneratedAnswer

log = logging.getLogger(__name__)

AT_ONCE = 16  # questions; the engine also answers people
RETRIES = Backoff(attempts=3, growth=1.0)  # of a question, each at the next engine
POLL_S = 0.2  # between two checks of the store
ANSWER_TIMEOUT_S = 120.0


class NoEngineReady(Unavailable):
    """No engine is available; says why."""


class RequestRefused(Unavailable):
    """Every engine refuses to serve the adapter; says what is wrong with it. `replica` is one of
    them, and `differs` says that it answers differently there than after training."""

    def __init__(self, sentence: str, replica: str = "", *, differs: bool = False) -> None:
        super().__init__(sentence)
        self.replica = replica
        self.differs = differs


def wait_until_held(
    store: Store,
    adapter: Adapter,
    patience_s: float,
    clock: Callable[[], float] = time.monotonic,
) -> list[Placement]:
    """Wait until an engine holds the adapter; returns its placements. Raises NoEngineReady when no
    engine is running, or none has loaded the adapter after `patience_s` seconds, and RequestRefused
    when no running engine can serve it."""
    deadline = clock() + patience_s
    while True:
        ready = {replica.name for replica in placements.ready(store.db)}
        at = [p for p in placements.placements_of(store.db, adapter.id) if p.replica in ready]
        if held := [p for p in at if p.state == "loaded"]:
            return held
        coming = placements.count_expected(store.db)
        if not coming:
            raise NoEngineReady("no engine is running")
        if len([p for p in at if p.given_up]) == coming:
            first = at[0]
            raise RequestRefused(first.error, first.replica, differs=first.agreement is not None)
        if clock() > deadline:
            raise NoEngineReady(f"no engine had loaded it after {patience_s:.0f} s")
        time.sleep(POLL_S)


def answers(
    store: Store,
    adapter: Adapter | None,
    asked: Sequence[EvalQuestion],
    max_model_len: int,
    beat: Callable[[int], None] = lambda _: None,
) -> list[GeneratedAnswer]:
    """Greedy answers of `adapter` (None: the bare base) to each question, in order. Raises
    NoEngineReady when an engine cannot be reached or does not answer."""
    ready = placements.ready(store.db)
    if adapter is not None:
        ready = placements.holders(store.db, ready).get(adapter.id, [])
    if not ready:
        name = adapter.name if adapter is not None else "the bare base"
        raise NoEngineReady(f"no engine holds {name} now")

    def ask_one(numbered: tuple[int, EvalQuestion]) -> GeneratedAnswer:
        number, question = numbered
        body = _request(question, max_model_len)
        return _ask_with_retries(ready, number, adapter, body)

    found: list[GeneratedAnswer] = []
    with ThreadPoolExecutor(min(AT_ONCE, max(1, len(asked)))) as pool:
        for one in pool.map(ask_one, enumerate(asked)):
            found.append(one)
            beat(len(found))
    return found


@dataclass(frozen=True)
class Rendering:
    """Whether engines encode a conversation as the same token ids as training."""

    compared: int  # questions, on every engine that holds the adapter
    differs: str = ""  # a sentence about the first difference; '' if there is none
    not_compared: str = ""  # why an engine was not compared


def rendering(store: Store, adapter: Adapter, asked: Sequence[EvalQuestion]) -> Rendering:
    """Compare the token ids of engines with those of training. An engine with another chat template
    would send prompts that the adapter never learned, without an error."""
    ready = placements.holders(store.db, placements.ready(store.db)).get(adapter.id, [])
    not_compared = "" if ready else f"no engine holds {adapter.name} now"
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
                    f"{engine.name} encodes a conversation differently from training, from token "
                    f"{_common_length(ids, question.prompt) + 1} of {len(question.prompt)} on: its "
                    "chat template is not the base model's.",
                )
    return Rendering(0 if not_compared else len(asked), not_compared=not_compared)


def _ids(url: str, served_name: str, question: EvalQuestion) -> tuple[int, ...]:
    """The token ids of a question in an engine, with the beginning of an answer."""
    body = {
        "messages": list(question.messages),
        "add_generation_prompt": True,
    }
    found = _post(f"{url}/tokenize", body)
    try:
        return tuple(int(token) for token in found["tokens"])
    except (KeyError, TypeError, ValueError) as error:
        raise NoEngineReady(f"the server at {url} is not vLLM") from error


def _common_length(one: Sequence[int], other: Sequence[int]) -> int:
    """The number of equal tokens at the start."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(one), len(other)))


def _request(question: EvalQuestion, max_model_len: int) -> dict[str, Any]:
    """A request as in `serving/client.py`, but without streaming. Every parameter is sent, so that
    no default of a model or an engine applies."""
    return {
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


def _ask_with_retries(
    engines: Sequence[Replica], number: int, adapter: Adapter | None, body: dict[str, Any]
) -> GeneratedAnswer:
    """Ask one engine, and the next one if it fails."""

    def engine(attempt: int) -> Replica:
        return engines[(number + attempt) % len(engines)]

    def answer(attempt: int) -> GeneratedAnswer:
        asked = engine(attempt)
        name = asked.base_name if adapter is None else adapter.served_name
        return _answer(asked.url, {"model": name, **body})

    return retry(
        answer,
        RETRIES,
        on=NoEngineReady,
        on_error=lambda error, attempt: log.warning(
            "%s did not answer: %s", engine(attempt).name, error
        ),
    )


def _answer(url: str, body: dict[str, Any]) -> GeneratedAnswer:
    found = _post(f"{url}/v1/chat/completions", body)
    try:
        choice, model = found["choices"][0], found["model"]
        answer = GeneratedAnswer(str(choice["message"]["content"] or "").strip(),
                        choice["finish_reason"] == "length")  # fmt: skip
    except (KeyError, IndexError, TypeError) as error:
        raise NoEngineReady(f"the server at {url} is not vLLM") from error
    if model != body["model"]:
        raise NoEngineReady(f"the engine answered as {model!r} instead of {body['model']!r}")
    return answer


def _post(url: str, body: dict[str, Any]) -> Any:
    """Send a request; returns the JSON of the answer. Raises NoEngineReady."""
    request = urllib.request.Request(  # noqa: S310 - an engine's own URL, from the store
        url, data=orjson.dumps(body), headers={"Content-Type": "application/json"}
    )
    opener = engine_http.opener()
    try:
        with opener.open(request, timeout=ANSWER_TIMEOUT_S) as response:
            return orjson.loads(response.read())
    except urllib.error.HTTPError as error:
        with error:
            message = error.read()[:300].decode(errors="replace")
        raise NoEngineReady(f"the engine answered {error.code}: {message}") from error
    except orjson.JSONDecodeError as error:
        raise NoEngineReady(f"the server at {url} is not vLLM") from error
    except (OSError, http.client.HTTPException) as error:
        raise NoEngineReady(f"the engine at {url} cannot be reached: {error}") from error
