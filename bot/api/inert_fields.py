"""Fields of other APIs that change nothing here, and so are accepted.

Clients send fields of OpenAI, vLLM, LiteLLM, Ollama and llama.cpp whether or not a server has them.
`INERT` and `IN_MESSAGES` say which values have no effect on an answer. Any other value would change
the answer, and is refused by name like an unknown field.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

ANY = object()  # whatever the value is, the answer stays the same
NOTHING: tuple[Any, ...] = (False, 0, "", [], {})

# A field of the request -> the values that have no effect
INERT: Mapping[str, Sequence[Any]] = {
    # OpenAI
    "audio": (),
    "function_call": ("none", "auto"),
    "functions": ([],),
    "logit_bias": ({},),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "max_tokens": (-1,),
    "max_completion_tokens": (-1,),
    "max_tool_calls": (ANY,),  # counts OpenAI's own tools, of which there are none
    "modalities": (["text"],),
    "moderation": (ANY,),
    "prediction": (ANY,),  # makes an answer faster, and no different
    "prompt_cache_key": (ANY,),
    "prompt_cache_retention": (ANY,),
    "reasoning_effort": ("none", "medium"),
    "safety_identifier": (ANY,),
    "service_tier": (ANY,),
    "tool_choice": ("none",),
    "tools": ([],),
    "verbosity": ("medium",),
    "web_search_options": (),
    # vLLM
    "add_generation_prompt": (True,),
    "bad_words": ([],),
    "best_of": (1,),
    "chat_template_kwargs": ({},),
    "continue_final_message": (False,),
    "echo": (False,),
    "ignore_eos": (False,),
    "include_reasoning": (ANY,),
    "include_stop_str_in_output": (False,),
    "length_penalty": (1,),
    "min_p": (0,),
    "min_tokens": (0,),
    "priority": (ANY,),
    "repetition_penalty": (1,),
    "request_id": (ANY,),
    "return_token_ids": (False,),
    "session_id": (ANY,),
    "skip_special_tokens": (True,),
    "spaces_between_special_tokens": (True,),
    "stop_token_ids": ([],),
    "top_k": (0, -1),
    "use_beam_search": (False,),
    # Ollama and llama.cpp
    "cache_prompt": (ANY,),
    "format": ("",),
    "id_slot": (ANY,),
    "keep_alive": (ANY,),
    "mirostat": (0,),
    "options": ({},),
    "repeat_penalty": (1,),
    "slot_id": (ANY,),
    "template": ("",),
    "tfs_z": (1,),
    "think": (False,),
    "typical_p": (1,),
    # LiteLLM, OpenRouter and chat programs
    "chat_id": (ANY,),
    "enable_thinking": (False,),
    "extra_body": ({},),
    "extra_headers": (ANY,),
    "plugins": ([],),
    "thinking": ({"type": "disabled"},),
    "timeout": (ANY,),
    "transforms": ([],),
}
# A field of a message -> the values that have no effect. Other programs' answers carry them.
IN_MESSAGES: Mapping[str, Sequence[Any]] = {
    "annotations": (ANY,),
    "audio": (),
    "cache_control": (ANY,),
    "created_at": (ANY,),
    "function_call": (ANY,),
    "id": (ANY,),
    "images": ([],),
    "metadata": (ANY,),
    "partial": (False,),
    "prefix": (False,),
    "provider_specific_fields": (ANY,),
    "reasoning": (ANY,),
    "reasoning_content": (ANY,),
    "reasoning_details": (ANY,),
    "status": (ANY,),
    "thinking": (ANY,),
    "thinking_blocks": (ANY,),
    "timestamp": (ANY,),
    "tool_call_id": (ANY,),
    "tool_calls": (ANY,),
    "type": ("message",),
}
OF_TOOLS = ("tool", "function")  # roles of messages that carry what a tool returned
READ = ("tool_calls", "tool_call_id")  # where the base has a place for them


@dataclass(frozen=True)
class WithoutInert:
    """A request without its inert fields, and the names of those whose meaning was ignored."""

    fields: dict[str, Any]
    ignored: tuple[str, ...]


def remove(given: Mapping[str, Any], *, with_tools: bool = False) -> WithoutInert:
    """Take the inert fields, and those that are null, out of a request and its messages.
    `with_tools`: the base model reads calls of tools and their results in the messages."""
    ignored: set[str] = set()
    fields = _without(given, INERT, ignored.add)
    if fields.get("tool_choice", given.get("tool_choice")) == "none" and "tools" in fields:
        del fields["tools"]  # no tool may be called
        ignored.add("tools")
    if not fields.get("tools"):
        fields.pop("parallel_tool_calls", None)
    if fields.get("metadata"):
        ignored.add("metadata")
    if isinstance(messages := fields.get("messages"), list):
        fields["messages"] = [_message(m, ignored, with_tools) for m in messages]
    return WithoutInert(fields, tuple(sorted(ignored)))


def _message(message: Any, ignored: set[str], with_tools: bool) -> Any:
    """A message without its inert fields. Where a prompt has no place for what tools were asked and
    returned, it is left out: such messages become empty."""
    if not isinstance(message, dict):
        return message
    role = message.get("role")
    if role in OF_TOOLS and not (with_tools and role == "tool"):
        ignored.add("messages.tool")
        return {"role": "assistant", "content": ""}
    inert = {n: v for n, v in IN_MESSAGES.items() if not (with_tools and n in READ)}
    fields = _without(message, inert, lambda name: ignored.add(f"messages.{name}"))
    if fields.get("role") == "assistant":
        refusal = fields.pop("refusal", None)
        fields.setdefault("content", refusal if isinstance(refusal, str) else "")
    if isinstance(content := fields.get("content"), list):
        fields["content"] = [_part(part, ignored) for part in content]
    return fields


def _part(part: Any, ignored: set[str]) -> Any:
    """A part of a message's content."""
    if not isinstance(part, dict):
        return part
    if isinstance(refusal := part.get("refusal"), str) and part.get("type") == "refusal":
        return {"type": "text", "text": refusal}
    inert = {name: IN_MESSAGES[name] for name in ("annotations", "cache_control")}
    return _without(part, inert, lambda name: ignored.add(f"messages.{name}"))


def _without(
    given: Mapping[str, Any], inert: Mapping[str, Sequence[Any]], ignore: Callable[[str], None]
) -> dict[str, Any]:
    kept = {}
    for name, value in given.items():
        values = inert.get(name, ())
        if ANY in values:
            if value is not None and not _is_one_of(value, NOTHING):
                ignore(name)
        elif value is not None and not _is_one_of(value, values):
            kept[name] = value
    return kept


def _is_one_of(value: Any, values: Sequence[Any]) -> bool:
    """Whether `value` is among `values`; `0` and `false` differ, `1` and `1.0` do not."""
    return any(
        value == known and isinstance(value, bool) is isinstance(known, bool) for known in values
    )
