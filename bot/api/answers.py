"""`POST /v1/chat/answers`: one answer, or two blinded answers to choose from.

The request is the same as for `/v1/chat/completions`, without streaming. If the running comparison
asks for a preference, the response has a second answer from another variant, and neither answer
names its adapter. The caller reports the choice with `prefer` in `POST /v1/feedback`.
"""

import logging
from typing import Any, ClassVar

import orjson
from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from bot.answering import side_by_side
from bot.answering.side_by_side import BlindedAnswer
from bot.api import answer_request, relay
from bot.api.answer_sources import grounds_as_json
from bot.api.completion_object import is_refusal
from bot.api.completion_request import ChatRequest
from bot.api.completions import Completions
from bot.api.problems import BadField
from bot.service import Service

log = logging.getLogger(__name__)


class Answers:
    """Answer a question, and sometimes with two blinded answers to choose from.

    Two answers come only if a running comparison shows both, and never as a stream. Send the
    person's choice to `POST /v1/feedback` as `prefer`."""

    tags: ClassVar = ["Answers"]
    request_model: ClassVar = ChatRequest
    response_description: ClassVar = (
        "A list of one or two answers, each with `id` and `content`. A single one also names its "
        "`adapter`, and has `outcome`, `sources`, `references_sent`, `nearest` and "
        "`history_dropped` as in `/v1/chat/completions`."
    )
    responses: ClassVar = {404: {"description": "There is no such model."}}

    def __init__(self, service: Service) -> None:
        self._service = service
        self._completions = Completions(service)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            headers = Headers(scope=scope)
            request, ask = await self._completions.understand(headers, receive)
            if request.stream:
                raise BadField("stream", "Answers here are not streamed; omit 'stream'.")
            if request.choices > 1:
                raise BadField("n", "Answers here are one or two, as a comparison asks; omit 'n'.")
            if ask.tools is not None or ask.after:
                raise BadField("tools", "Answers here call no tools; use /v1/chat/completions.")
            if request.logprobs:
                raise BadField("logprobs", "Answers here have no log probabilities.")
            service = self._service
            turns = service.settings.bot.history_turns
            answers = await relay.unless_disconnected(
                receive, side_by_side.answer(service.chat, service.store, ask, turns)
            )
            blinded = len(answers) > 1
            body = {"object": "list", "data": [_as_json(request, a, blinded) for a in answers]}
            await _send(send, body, answer_request.ignored_header(request))
        except relay.CallerDisconnected:
            log.info("The caller disconnected before the answers were complete")


def _as_json(request: ChatRequest, answer: BlindedAnswer, blinded: bool) -> dict[str, Any]:
    body: dict[str, Any] = {"id": answer.started.reply_id, "content": answer.text}
    if is_refusal(request.as_json, answer.started):
        body |= {"content": None, "refusal": answer.text}
    if not blinded:
        body["adapter"] = answer.started.adapter or None
        body["history_dropped"] = answer.started.history_dropped
        body |= grounds_as_json(answer.started)
    return body


async def _send(send: Send, body: dict[str, Any], more: list[tuple[bytes, bytes]]) -> None:
    headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store"), *more]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": orjson.dumps(body)})
