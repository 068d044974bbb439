"""The Modelfile with which Ollama serves an adapter.

It follows https://docs.ollama.com/modelfile and was not tried with Ollama. The template is derived:
the base's own chat template is rendered with placeholders, and the text around the placeholders
becomes Ollama's template. So it equals the one of training, or there is none if the base's template
does more than put text around messages.
"""

import json
from typing import Any

from data.adapters.registry import Adapter
from data.config.settings import Settings
from data.domains import Domain
from tuning.model import base_model
from tuning.model.chat_template import stop_ids

SYSTEM, PROMPT, ANSWER = "\ue000system\ue000", "\ue000prompt\ue000", "\ue000answer\ue000"
NOTE = """\
# {name}, a LoRA adapter on {base}.
#   ollama create {model} -f Modelfile
# FROM has to be the very base that the adapter was trained on: a folder with its safetensors, or
# the name of the same model in Ollama's library. Ollama reads safetensors adapters of some families
# (Llama, Mistral, Gemma); for others make a GGUF adapter of this folder with llama.cpp's
# convert_lora_to_gguf.py, and name that file under ADAPTER.
"""


def modelfile(settings: Settings, domain: Domain, adapter: Adapter) -> str:
    """The whole file; its ADAPTER is the folder that it lies in."""
    tokenizer = base_model.load_tokenizer(settings.base.path)
    ends = sorted(tokenizer.convert_ids_to_tokens(sorted(stop_ids(tokenizer))))
    note = NOTE.format(
        name=adapter.name, base=adapter.base_model, model=adapter.name.replace("@", "-")
    )
    lines = [note + f"FROM {settings.base.path}", "ADAPTER ."]
    template = go_template(tokenizer)
    if template is None:
        lines.append(
            "# The base's chat template cannot be expressed in a Modelfile: Ollama's own is used."
        )
    else:
        lines.append(f"TEMPLATE {_quoted(template)}")
    if domain.system_prompt:
        lines.append(f"SYSTEM {_quoted(domain.system_prompt)}")
    lines += [
        f"PARAMETER temperature {settings.bot.temperature:g}",
        "PARAMETER repeat_penalty 1",
        f"PARAMETER num_ctx {settings.serving.max_model_len}",
        f"PARAMETER num_predict {settings.bot.max_tokens}",
        *(f"PARAMETER stop {json.dumps(end, ensure_ascii=False)}" for end in ends),
    ]
    return "\n".join(lines) + "\n"


def go_template(tokenizer: Any) -> str | None:
    """The base's chat template in Ollama's syntax; None when it cannot be expressed."""
    try:
        with_system = _around(tokenizer, system=True)
        without = _around(tokenizer, system=False)
    except ValueError:
        return None
    before, after_prompt, end = with_system
    if (after_prompt, end) != without[1:] or any("{{" in part for part in with_system):
        return None
    head = _common(before, without[0])
    tail = _common(before[len(head) :][::-1], without[0][len(head) :][::-1])[::-1]
    if head + tail != without[0]:
        return None
    middle = before[len(head) : len(before) - len(tail)].replace(SYSTEM, "{{ .System }}")
    bos = tokenizer.bos_token or ""
    head = head.removeprefix(bos)  # Ollama adds it
    return (
        f"{head}{{{{ if .System }}}}{middle}{{{{ end }}}}{tail}{{{{ .Prompt }}}}{after_prompt}"
        f"{{{{ .Response }}}}{end}"
    )


def _around(tokenizer: Any, *, system: bool) -> tuple[str, str, str]:
    """The template's text before the prompt, between prompt and answer, and after the answer.
    Raises ValueError unless each placeholder appears exactly once."""
    said = [{"role": "system", "content": SYSTEM}] if system else []
    said.append({"role": "user", "content": PROMPT})
    begun = tokenizer.apply_chat_template(said, tokenize=False, add_generation_prompt=True)
    said.append({"role": "assistant", "content": ANSWER})
    whole = tokenizer.apply_chat_template(said, tokenize=False)
    before, prompt_to_answer = begun.split(PROMPT)
    if whole.count(ANSWER) != 1 or begun.count(SYSTEM) != int(system):
        raise ValueError
    start, end = whole.split(ANSWER)
    if start != begun:
        raise ValueError
    return before, prompt_to_answer, end


def _common(one: str, other: str) -> str:
    """The common prefix."""
    length = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), None)
    return one[: min(len(one), len(other)) if length is None else length]


def _quoted(text: str) -> str:
    return f'"""{text}"""'
