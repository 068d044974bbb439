"""`POST /v1/chat/answers`: an answer, or two blinded ones to choose from.

The request is that of `/v1/chat/completions`, without streaming. Where a comparison asks for it,
another variant answers beside the caller's own, and nothing says whose answer is whose until
`POST /v1/feedback` with `prefer` has chosen.
"""

import logging
from typing import Any, ClassVar

import orjson
from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from bot.answering import side_by_side
from bot.answering.side_by_side import BlindedAnswer
from bot.api import auth, relay
from bot.api.completion_request import ChatRequest
from bot.api.completions import Completions
from bot.api.problems import BadField
from bot.service import Service

log = logging.getLogger(__name__)


class Answers:
    """Answer a question, and sometimes with two blinded answers to choose from.

    Two answers come only where a comparison asks for them, and never as a stream. `POST
    /v1/feedback` with `prefer` tells which of them is better."""

    tags: ClassVar = ["Answers"]
    request_model: ClassVar = ChatRequest
    response_description: ClassVar = (
        "A list of one or two answers, each with `id` and `content`. A single one also names its "
        "`adapter`."
    )
    responses: ClassVar = {404: {"description": "There is no such model."}}

    def __init__(self, service: Service) -> None:
        self._service = service
        self._completions = Completions(service)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            secret = auth.bearer(Headers(scope=scope))
            request, ask = await self._completions.understand(secret, await relay.body(receive))
            if request.stream:
                raise BadField("stream", "Two answers are not streamed; leave 'stream' out.")
            service = self._service
            turns = service.settings.bot.history_turns
            found = await relay.unless_gone(
                receive, side_by_side.answer(service.chat, service.store, ask, turns)
            )
            await _send(send, {"object": "list", "data": [_shown(a, found) for a in found]})
        except relay.CallerGone:
            log.info("The caller left before the answers were complete")


def _shown(answer: BlindedAnswer, among: list[BlindedAnswer]) -> dict[str, Any]:
    shown: dict[str, Any] = {"id": answer.started.reply_id, "content": answer.text}
    if len(among) == 1:
        shown["adapter"] = answer.started.adapter
    return shown


async def _send(send: Send, given: dict[str, Any]) -> None:
    headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": orjson.dumps(given)})
