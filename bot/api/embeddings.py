"""`POST /v1/embeddings`: the vectors of texts, by the encoder that searches the approved pairs.

The texts are not stored. Encoding takes the CPU that searches need as well, so a few texts are
encoded at a time, of one request after another, and few requests may wait. A caller who left is
noticed between two steps.
"""

import asyncio
import base64
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Depends, Request
from pydantic import BeforeValidator, Field
from starlette.responses import Response

from bot.answering.admission import TooBusy
from bot.api import auth, relay
from bot.api.answer_request import StrictModel, Word
from bot.api.problems import BadField, UnknownModel
from bot.service import Service
from data.people.keys import Key
from data.search.encoder import SentenceEncoder

if TYPE_CHECKING:
    import numpy as np

router = APIRouter(tags=["Embeddings"])
MAX_TEXTS = 2_048  # as OpenAI; the limit of a body comes first for long ones
MAX_WAITING = 16  # requests that wait or are encoded
MAX_OF_KEY = 4  # of these, requests of one key
TOGETHER = 16  # texts in one step


def _texts(given: Any) -> Any:
    """A list of texts; one text is a list of one."""
    if isinstance(given, str):
        return [given]
    if isinstance(given, list) and any(isinstance(each, int | list) for each in given):
        raise ValueError(
            "send texts; tokens are not supported (in LangChain: check_embedding_ctx_length=False)"
        )
    return given


class EmbeddingRequest(StrictModel):
    model: Annotated[str, Field(max_length=200)] = Field(
        description="The name of the encoder (`[search] encoder`). A request with another name "
        "is told the right one."
    )
    input: Annotated[
        list[Annotated[str, Field(min_length=1)]],
        BeforeValidator(_texts),
        Field(min_length=1, max_length=MAX_TEXTS),
    ] = Field(
        description="One text, or a list of texts. Each is cut off at the encoder's length limit."
    )
    encoding_format: Literal["float", "base64"] | None = Field(
        default=None,
        description="`base64`: the bytes of little-endian float32 numbers. Default: `float`.",
    )
    dimensions: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="Only the encoder's own number of dimensions is supported."
    )
    input_type: Literal["query", "document"] | None = Field(
        default=None,
        description="Some encoders tell questions and the texts to be found apart. Default: "
        "`document`.",
    )
    user: Word | None = Field(default=None, description="Accepted and not used.")


class EmbeddingQueue:
    """The requests that wait. They take turns, a step at a time. Use it from one event loop."""

    def __init__(self) -> None:
        self.step = asyncio.Lock()  # whoever waits longest is next
        self._all = 0
        self._of_key: Counter[int] = Counter()

    @contextlib.asynccontextmanager
    async def waiting(self, key_id: int) -> AsyncIterator[None]:
        """Count a request while it waits and is encoded. Raises TooBusy."""
        if self._all >= MAX_WAITING or self._of_key[key_id] >= MAX_OF_KEY:
            raise TooBusy(1, "Too many requests for embeddings are waiting")
        self._all += 1
        self._of_key[key_id] += 1
        try:
            yield
        finally:
            self._all -= 1
            self._of_key[key_id] -= 1
            if not self._of_key[key_id]:
                del self._of_key[key_id]


@router.post(
    "/embeddings",
    response_description="OpenAI's list of embeddings, in the order of the texts. The vectors have "
    "length 1. `usage` counts the tokens that the encoder read; it is 0 for an encoder behind an "
    "address, which does not tell.",
    responses={404: {"description": "The encoder has another name, or there is none."}},
)
async def embed(
    request: Request, given: EmbeddingRequest, key: Annotated[Key, Depends(auth.member)]
) -> Response:
    """Turn texts into vectors, with the encoder that searches the approved pairs."""
    service: Service = request.app.state.service
    most = service.settings.bot.max_prompt_chars
    for text in given.input:
        if len(text) > most:
            raise BadField("input", f"A text has {len(text):,} characters; the limit is {most:,}.")
    queue: EmbeddingQueue = request.app.state.embedding_queue
    async with queue.waiting(key.id):
        encoder = _checked(given, await asyncio.to_thread(service.chat.search.encoder))
        data: list[dict[str, Any]] = []
        tokens = 0
        for start in range(0, len(given.input), TOGETHER):
            some = given.input[start : start + TOGETHER]
            async with queue.step:
                if await request.is_disconnected():
                    raise relay.CallerDisconnected
                vectors, read = await asyncio.to_thread(
                    _encode, encoder, some, given.input_type == "query"
                )
            tokens += read
            data += [_embedding(len(data) + n, v, given) for n, v in enumerate(vectors)]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    body = {"object": "list", "data": data, "model": encoder.name, "usage": usage}
    return Response(orjson.dumps(body), media_type="application/json")


def _checked(given: EmbeddingRequest, encoder: SentenceEncoder | None) -> SentenceEncoder:
    """The encoder, if it is the one that was asked for. Raises UnknownModel and BadField."""
    if encoder is None:
        raise UnknownModel(
            "There is no encoder: this service searches by words. Its operator can choose one with "
            "[search] encoder."
        )
    if given.model != encoder.name:
        raise UnknownModel(f"There is no such encoder. The encoder here is {encoder.name!r}.")
    if given.dimensions not in (None, encoder.dimensions):
        raise BadField("dimensions", f"The vectors have {encoder.dimensions} dimensions.")
    return encoder


def _encode(
    encoder: SentenceEncoder, texts: list[str], questions: bool
) -> "tuple[np.ndarray, int]":
    return (
        encoder.encode(texts, questions=questions),
        encoder.count_tokens(texts, questions=questions),
    )


def _embedding(index: int, vector: "np.ndarray", given: EmbeddingRequest) -> dict[str, Any]:
    numbers: list[float] | str = vector.tolist()
    if given.encoding_format == "base64":
        numbers = base64.b64encode(vector.astype("<f4").tobytes()).decode("ascii")
    return {"object": "embedding", "index": index, "embedding": numbers}
