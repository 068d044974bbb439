"""The fields of a request for an answer that several forms of OpenAI's API have: an allow-list.

A field that would change the answer but is not supported is refused by name, never ignored.
`inert_fields.py` has the fields that change nothing. `null` means the same as an absent field.
"""

from typing import Annotated, Any, TypeVar

import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, ValidationError

from bot.api import inert_fields
from bot.api.problems import BadField, first_fault
from bot.api.response_format import ResponseFormat
from data.store.errors import Invalid

MAX_USER = 256
MAX_CHOICES = 8  # each takes a place in the queue and a slot of an engine

Word = Annotated[str, Field(max_length=MAX_USER)]
TokenId = Annotated[str, Field(pattern=r"^[0-9]{1,9}$")]
Stop = Annotated[str, Field(min_length=1, max_length=256)]


class StrictModel(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def _listed(stop: Any) -> Any:
    """Turn a single stop string into a list."""
    return [stop] if isinstance(stop, str) else stop


class StreamOptions(StrictModel):
    include_usage: bool = Field(default=False, description="Send the token counts last.")
    include_obfuscation: bool = Field(default=False, description="Accepted and not used.")


class AnswerOptions(StrictModel):
    references: bool = Field(
        default=True,
        description="`false`: do not search the approved pairs. The adapter, or the bare base "
        "model, answers alone, and nothing is declined.",
    )


class TemplateOptions(StrictModel):
    """What a caller may hand to the chat template. Anything else could change the layout of the
    prompt, which an adapter knows only as it was in training."""

    enable_thinking: bool | None = Field(
        default=None, description="Whether bases that can think do so before they answer."
    )


class AnswerRequest(StrictModel):
    """A request for an answer, in any form of OpenAI's API."""

    model: Annotated[str, Field(max_length=100)] = Field(
        description="A domain, such as `travel`: the comparison or the live adapter answers. Or "
        "`travel@3` (that version) or `travel@base` (the base model without an adapter)."
    )
    stream: bool = Field(default=False, description="Send the answer as it is written.")
    stream_options: StreamOptions | None = Field(default=None, description="Only with `stream`.")
    temperature: Annotated[float, Field(ge=0, le=2)] | None = Field(
        default=None, description="Default: `[bot] temperature`."
    )
    top_p: Annotated[float, Field(gt=0, le=1)] | None = Field(
        default=None, description="Nucleus sampling: the probability mass to sample from."
    )
    store: bool = Field(
        default=True,
        description="`false`: the words of the question and the answer are not stored, only "
        "figures: who asked, when, which adapter answered, and how long it took.",
    )
    user: Word | None = Field(
        default=None,
        description="The person who asks, among the people of the key. A person keeps their "
        "variant of a comparison.",
    )
    metadata: Annotated[dict[str, str], Field(max_length=16)] | None = Field(
        default=None, description="Accepted and not stored."
    )
    chat_template_kwargs: TemplateOptions | None = Field(
        default=None, description="For the chat template: only `enable_thinking`."
    )
    understudy: AnswerOptions = Field(
        default_factory=AnswerOptions, description="Options that OpenAI's API does not have."
    )

    _ignored: tuple[str, ...] = PrivateAttr(default=())

    @property
    def ignored(self) -> tuple[str, ...]:
        """The names of the fields that were sent and have no effect here."""
        return self._ignored

    def ignore(self, name: str) -> None:
        """Note that a field has no effect here."""
        self._ignored = (*self._ignored, name)

    @property
    def include_usage(self) -> bool:
        """Whether a stream ends with the token counts."""
        return self.stream_options is not None and self.stream_options.include_usage


class SampledRequest(AnswerRequest):
    """The fields about sampling that `/v1/chat/completions` and `/v1/completions` share."""

    max_tokens: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="Default: `[bot] max_tokens`."
    )
    top_k: Annotated[int, Field(ge=-1, le=100_000)] | None = Field(
        default=None, description="Sample from so many tokens. `0` or `-1`: from all."
    )
    min_p: Annotated[float, Field(ge=0, le=1)] | None = Field(
        default=None,
        description="Leave out tokens that are less likely than this share of the likeliest one.",
    )
    logit_bias: (
        Annotated[dict[TokenId, Annotated[float, Field(ge=-100, le=100)]], Field(max_length=300)]
        | None
    ) = Field(default=None, description="Token ids, and what is added to their logits.")
    stop: Annotated[list[Stop], BeforeValidator(_listed), Field(max_length=4)] | None = Field(
        default=None, description="One text, or up to four."
    )
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = Field(
        default=None, description="Makes sampling repeatable."
    )
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = Field(
        default=None, description="As in OpenAI's API."
    )
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = Field(
        default=None, description="As in OpenAI's API."
    )
    response_format: ResponseFormat | None = Field(
        default=None, description="Answers as JSON: `json_object`, or `json_schema` with a schema."
    )
    n: Annotated[int, Field(ge=1, le=MAX_CHOICES)] | None = Field(
        default=None, description="How many answers to give to the question."
    )

    @property
    def choices(self) -> int:
        """How many answers are wanted."""
        return self.n or 1

    @property
    def as_json(self) -> bool:
        """Whether the answer must be JSON."""
        return self.response_format is not None and self.response_format.type != "text"


M = TypeVar("M", bound=AnswerRequest)


def fields_in_common(request: AnswerRequest, other: type[AnswerRequest]) -> dict[str, Any]:
    """The fields that were given and that a request of the kind `other` has as well."""
    return {n: getattr(request, n) for n in request.model_fields_set if n in other.model_fields}


def parse(model: type[M], body: bytes, *, with_tools: bool = False) -> M:
    """Parse a request. `with_tools`: as in `inert_fields.remove`. Raises Invalid, or BadField with
    the name of the wrong field."""
    try:
        given = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Invalid(f"The body is not valid JSON: {error}.") from None
    if not isinstance(given, dict):
        raise Invalid("The body must be a JSON object.")
    try:
        known = inert_fields.remove(given, with_tools=with_tools)
        request = model.model_validate(known.fields)
    except ValidationError as error:
        param, message = first_fault(error)
        raise BadField(param, message) from None
    request._ignored = known.ignored
    return request


def ignored_header(request: AnswerRequest) -> list[tuple[bytes, bytes]]:
    """The header that names the fields without effect; none if there are none. The names are those
    of `inert_fields.py`, never a caller's own."""
    if not request.ignored:
        return []
    return [(b"x-understudy-ignored", ", ".join(request.ignored).encode())]
