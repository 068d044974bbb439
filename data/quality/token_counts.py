"""The tokens of a pair as a run sees them: by the tokenizer and the chat template of the base.

This reads the files of the base with `tokenizers` and Jinja, because a front end must load neither
transformers nor torch. `tuning/data/examples.py` encodes the pairs of a run; a test compares the
two.
"""

import contextlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any
from unicodedata import normalize

import orjson

from data.adapters import files
from data.bases import context_length, control_tokens
from data.config.settings import Settings
from data.domains import Domain
from data.pairs.pairs import Draft, Pair
from data.quality.findings import NotChecked, Surroundings, TokenCount, not_installed
from data.search import layout
from data.store.errors import Unavailable

SPARE = 64  # bytes for what a template adds now and then, such as a date
TOGETHER = 500  # pairs that are tokenised at a time, so that memory does not depend on their number


def of_base(settings: Settings, domain: Domain, max_length: int | None = None) -> Surroundings:
    """What the checks know of the base of the settings. `max_length` is that of a recipe; without
    it, a pair may be as long as the context of the engine, or what the base reads."""
    around = Surroundings(
        control_tokens=control_tokens.of_base(settings),
        max_tokens=max_length or settings.serving.max_model_len,
    )
    try:
        folder = files.base_folder(settings.base.path)
        counter = _Counter(folder, domain.system_prompt, around.control_tokens)
    except (Unavailable, NotChecked) as error:
        return replace(around, no_tokens=str(error))
    read = context_length.of_config(_json(folder / "config.json"))
    return replace(
        around,
        count_tokens=counter.count,
        most_tokens=counter.most,
        max_tokens=min(around.max_tokens, read or around.max_tokens),
    )


class _Counter:
    """Counts the tokens of pairs. Raises NotChecked for a base without tokenizer or template."""

    def __init__(self, folder: Path, system_prompt: str, tokens: frozenset[str]) -> None:
        about = _json(folder / "tokenizer_config.json")
        template = _template(folder, about)
        self._file = folder / "tokenizer.json"
        if not template or not self._file.is_file():
            raise NotChecked("the base model has no tokenizer.json or no chat template")
        self._render = _renderer(template)
        self._special = {
            key: _text(about.get(key)) for key in ("bos_token", "eos_token", "pad_token")
        }
        self._system_prompt = system_prompt
        self._control_tokens = tokens

    def count(self, pairs: Sequence[Pair]) -> list[TokenCount]:
        """The tokens of each pair."""
        made: list[TokenCount] = []
        for some in _batches(pairs):
            texts, refused = [], []
            for pair in some:
                try:
                    texts.append(self._rendered(pair))
                    refused.append("")
                except Exception as error:  # a template is a program of the base's authors
                    texts.append("")
                    refused.append(str(error) or type(error).__name__)
            whole, answers = self._lengths(texts), self._lengths([p.response for p in some])
            made += [
                TokenCount(0, 0, why) if why else TokenCount(total - answer - 1, answer + 1)
                for total, answer, why in zip(whole, answers, refused, strict=True)
            ]
        return made

    def most(self, pair: Pair | Draft) -> int:
        """At least as many tokens as the pair has: no token has less than one byte."""
        parts = (pair.system or self._system_prompt, pair.prompt, pair.response)
        said = sum(map(_bytes, parts)) + sum(_bytes(turn.content) for turn in pair.turns)
        return said + self._frame[0] + len(pair.turns) * self._frame[1]

    @cached_property
    def _frame(self) -> tuple[int, int]:
        """The bytes that the template adds to a pair, and to each earlier turn of it."""
        user, assistant = ({"role": role, "content": "x"} for role in ("user", "assistant"))
        system = {"role": "system", "content": "x"}
        sizes = [0]
        for said in ([user, assistant], [system, user, assistant]):
            with contextlib.suppress(Exception):  # some templates refuse system prompts
                sizes.append(_bytes(self._text_of(said)))
        turns = 0
        with contextlib.suppress(Exception):
            turns = _bytes(self._text_of([user, assistant, user, assistant])) - sizes[1]
        return max(sizes) + SPARE, turns + SPARE

    def _rendered(self, pair: Pair) -> str:
        system = pair.system or self._system_prompt
        said = [{"role": "system", "content": system}] if system else []
        said += [{"role": turn.role, "content": turn.content} for turn in pair.turns]
        said += [{"role": "user", "content": pair.prompt}]
        tokens = self._control_tokens
        said = [{**one, "content": layout.harmless(one["content"], tokens)} for one in said]
        text = self._text_of([*said, {"role": "assistant", "content": pair.response}])
        # what the template writes after the last stop token is never generated
        stop = self._special["eos_token"]
        return text[: text.rindex(stop) + len(stop)] if stop and stop in text else text

    def _text_of(self, said: list[dict[str, str]]) -> str:
        return self._render(messages=said, add_generation_prompt=False, **self._special)

    def _lengths(self, texts: list[str]) -> list[int]:
        encoded = self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        return [len(one.ids) for one in encoded]

    @cached_property
    def _tokenizer(self) -> Any:
        from tokenizers import Tokenizer

        return Tokenizer.from_file(str(self._file))


def _bytes(text: str) -> int:
    """The bytes of a text; tokenizers bring it into the form NFKC, which may be longer."""
    return len(text) if text.isascii() else len(normalize("NFKC", text).encode("utf-8", "replace"))


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
