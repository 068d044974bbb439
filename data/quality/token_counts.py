"""The tokens of a pair as a run sees them: by the tokenizer and the chat template of the base.

This reads the files of the base with `tokenizers` and Jinja, because a front end must load neither
transformers nor torch. `tuning/data/examples.py` encodes the pairs of a run; a test compares the
two.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from data.adapters import files
from data.bases import control_tokens
from data.config.settings import Settings
from data.domains import Domain
from data.pairs.pairs import Pair
from data.quality.findings import NotChecked, Surroundings, TokenCount, not_installed
from data.search import layout
from data.store.errors import Unavailable

TOGETHER = 500  # pairs that are tokenised at a time, so that memory does not depend on their number


def of_base(settings: Settings, domain: Domain, max_length: int | None = None) -> Surroundings:
    """What the checks know of the base of the settings. `max_length` is that of a recipe; without
    it, a pair may be as long as the context of the engine."""
    around = Surroundings(
        control_tokens=control_tokens.of_base(settings),
        max_tokens=max_length or settings.serving.max_model_len,
    )
    try:
        folder = files.base_folder(settings.base.path)
        count = _counter(folder, domain.system_prompt, around.control_tokens)
    except (Unavailable, NotChecked) as error:
        return replace(around, no_tokens=str(error))
    return replace(around, count_tokens=count)


def _counter(
    folder: Path, system_prompt: str, tokens: frozenset[str]
) -> Callable[[Sequence[Pair]], list[TokenCount]]:
    about = _json(folder / "tokenizer_config.json")
    template = _template(folder, about)
    file = folder / "tokenizer.json"
    if not template or not file.is_file():
        raise NotChecked("the base model has no tokenizer.json or no chat template")
    render = _renderer(template)
    special = {key: _text(about.get(key)) for key in ("bos_token", "eos_token", "pad_token")}
    stop = special["eos_token"]

    def rendered(pair: Pair) -> str:
        system = pair.system or system_prompt
        said = [{"role": "system", "content": system}] if system else []
        said += [{"role": turn.role, "content": turn.content} for turn in pair.turns]
        said += [{"role": "user", "content": pair.prompt}]
        said = [{**one, "content": layout.harmless(one["content"], tokens)} for one in said]
        said += [{"role": "assistant", "content": pair.response}]
        text: str = render(messages=said, add_generation_prompt=False, **special)
        # what the template writes after the last stop token is never generated
        return text[: text.rindex(stop) + len(stop)] if stop and stop in text else text

    def count(pairs: Sequence[Pair]) -> list[TokenCount]:
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(file))

        def lengths(texts: list[str]) -> list[int]:
            encoded = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
            return [len(one.ids) for one in encoded]

        made: list[TokenCount] = []
        for some in _batches(pairs):
            try:
                whole = lengths([rendered(pair) for pair in some])
            except NotChecked:
                raise
            except Exception as error:  # a template is a program of the base's authors
                raise NotChecked(f"the chat template of the base fails: {error}") from error
            answers = lengths([pair.response for pair in some])
            made += [
                TokenCount(total - answer - 1, answer + 1)
                for total, answer in zip(whole, answers, strict=True)
            ]
        return made

    return count


def _renderer(template: str) -> Callable[..., str]:
    """The template as transformers renders it: in a sandbox, with the same extensions."""
    try:
        from jinja2 import TemplateError
        from jinja2.ext import loopcontrols
        from jinja2.sandbox import ImmutableSandboxedEnvironment
    except ImportError as error:
        raise NotChecked(not_installed("Jinja2")) from error

    def raise_exception(message: str) -> None:
        raise TemplateError(message)

    made = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols]
    )
    made.filters["tojson"] = lambda value, **_: orjson.dumps(value).decode()
    made.globals["raise_exception"] = raise_exception
    made.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    try:
        return made.from_string(template).render
    except TemplateError as error:
        raise NotChecked(f"the chat template of the base cannot be read: {error}") from error


def _template(folder: Path, about: dict[str, Any]) -> str:
    file = folder / "chat_template.jinja"
    if file.is_file():
        return file.read_text(encoding="utf-8")
    given = about.get("chat_template") or ""
    if isinstance(given, list):
        return str(next((one["template"] for one in given if one.get("name") == "default"), ""))
    return str(given)


def _batches(pairs: Sequence[Pair]) -> Iterator[list[Pair]]:
    left = iter(pairs)
    while some := list(itertools.islice(left, TOGETHER)):
        yield some


def _text(token: Any) -> str:
    return str(token["content"] if isinstance(token, dict) else token or "")


def _json(file: Path) -> dict[str, Any]:
    found = orjson.loads(file.read_bytes()) if file.is_file() else {}
    return found if isinstance(found, dict) else {}
