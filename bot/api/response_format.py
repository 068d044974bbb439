"""`response_format`: answers as JSON, as OpenAI's API describes it.

The engine allows only tokens that keep the answer valid, so a JSON Schema is kept whether or not it
is `strict`. Only an answer that reaches its limit of tokens can be incomplete.
"""

from typing import Annotated, Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, model_validator

MAX_SCHEMA_BYTES = 32_000  # the engine compiles it for each new schema


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, populate_by_name=False)


class JsonSchema(_Strict):
    """A JSON Schema with a name."""

    name: Annotated[str, Field(min_length=1, max_length=64)] = Field(description="Any name.")
    schema_: dict[str, Any] = Field(
        alias="schema", description=f"A JSON Schema of at most {MAX_SCHEMA_BYTES:,} bytes."
    )
    description: Annotated[str, Field(max_length=2_000)] | None = Field(
        default=None, description="Accepted and not used."
    )
    strict: bool | None = Field(
        default=None, description="Accepted: the schema is always followed."
    )

    @model_validator(mode="after")
    def _small(self) -> "JsonSchema":
        if len(orjson.dumps(self.schema_)) > MAX_SCHEMA_BYTES:
            raise ValueError(f"the schema is larger than {MAX_SCHEMA_BYTES:,} bytes")
        return self


class ResponseFormat(_Strict):
    """The form of an answer."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = Field(default=None, description="Only with `json_schema`.")

    @model_validator(mode="after")
    def _complete(self) -> "ResponseFormat":
        if (self.type == "json_schema") is not (self.json_schema is not None):
            raise ValueError("give 'json_schema' with the type 'json_schema', and only with it")
        return self

    @property
    def for_engine(self) -> dict[str, Any] | None:
        """The field of the engine's request; None for text."""
        if self.type == "text":
            return None
        if self.json_schema is None:
            return {"type": self.type}
        schema = {"name": self.json_schema.name, "schema": self.json_schema.schema_}
        return {"type": self.type, "json_schema": schema}
