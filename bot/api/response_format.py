"""`response_format` and `text.format`: answers as JSON, as OpenAI's APIs describe it.

The engine allows only tokens that keep the answer valid, so a JSON Schema is kept whether or not it
is `strict`. Only an answer that reaches its limit of tokens can be incomplete.
"""

from typing import Annotated, Any, Literal

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

MAX_SCHEMA_BYTES = 32_000  # the engine compiles it for each new schema

Form = Literal["text", "json_object", "json_schema"]


def _small(schema: dict[str, Any]) -> dict[str, Any]:
    if len(orjson.dumps(schema)) > MAX_SCHEMA_BYTES:
        raise ValueError(f"the schema is larger than {MAX_SCHEMA_BYTES:,} bytes")
    return schema


Schema = Annotated[dict[str, Any], AfterValidator(_small)]
SchemaName = Annotated[str, Field(min_length=1, max_length=64)]
Description = Annotated[str, Field(max_length=2_000)]
A_SCHEMA = f"A JSON Schema of at most {MAX_SCHEMA_BYTES:,} bytes."
STRICT = "Accepted: the schema is always followed."


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, populate_by_name=False)


class JsonSchema(_Strict):
    """A JSON Schema with a name."""

    name: SchemaName = Field(description="Any name.")
    schema_: Schema = Field(alias="schema", description=A_SCHEMA)
    description: Description | None = Field(default=None, description="Accepted and not used.")
    strict: bool | None = Field(default=None, description=STRICT)


class ResponseFormat(_Strict):
    """The form of an answer."""

    type: Form
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


class TextFormat(_Strict):
    """The form of an answer in `/v1/responses`, where the schema stands beside the type."""

    type: Form = Field(default="text", description="Plain text, or JSON.")
    name: SchemaName | None = Field(default=None, description="Any name. Only with a schema.")
    schema_: Schema | None = Field(default=None, alias="schema", description=A_SCHEMA)
    description: Description | None = Field(default=None, description="Accepted and not used.")
    strict: bool | None = Field(default=None, description=STRICT)

    @model_validator(mode="after")
    def _complete(self) -> "TextFormat":
        for given in (self.name, self.schema_):
            if (self.type == "json_schema") is not (given is not None):
                raise ValueError(
                    "give 'name' and 'schema' with the type 'json_schema', and only with it"
                )
        return self

    @property
    def as_response_format(self) -> ResponseFormat:
        """The same form as `/v1/chat/completions` names it."""
        if self.name is None or self.schema_ is None:
            return ResponseFormat(type=self.type)
        schema = JsonSchema.model_validate({"name": self.name, "schema": self.schema_})
        return ResponseFormat(type=self.type, json_schema=schema)

    @property
    def as_json(self) -> dict[str, Any]:
        """The field `text.format` of a response."""
        return self.model_dump(by_alias=True, exclude_none=True)
