"""The licence of the base model, which people confirm if it forbids common uses.

It is read from the model card (`license`, `license_name`), from `config.json`, or recognised from
the text of a LICENSE file, and recorded with each adapter. This is a reminder and not legal advice:
only people can decide what a licence allows. A licence that forbids commercial use, or allows only
research, must therefore be confirmed by its name, in the settings or for a run."""

import contextlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from data.config.settings import Settings
from data.store.errors import Invalid
from tuning.recipe.search_space import LICENCE

FILES = ("LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE", "COPYING")
UNNAMED = "other"  # in a model card, for a licence without a name on the hub

NAMES = {  # pattern in a licence's name -> its meaning
    r"non-?commercial|\bnc\b": "it does not allow commercial use",
    r"research|\bamlr\b|academic": "it allows research only",
    r"\bnd\b|no-?derivatives": "it does not allow changed versions to be shared",
    r"evaluation": "it allows evaluation only",
}
WORDS = {  # pattern in a licence's text -> its meaning
    r"non-?commercial (use|purpose|research)|not .{0,40}commercial(ly)? (use|purpose)": (
        "it does not allow commercial use"
    ),
    r"research (purposes|use) only|only for research": "it allows research only",
    r"evaluation (purposes|use) only": "it allows evaluation only",
}
TEXTS = {  # phrase in a licence's text -> its name
    "apache license": "apache-2.0",
    "permission is hereby granted, free of charge": "mit",
    "redistribution and use in source and binary forms": "bsd",
    "gnu affero general public license": "agpl",
    "gnu general public license": "gpl",
    "attribution-noncommercial": "cc-by-nc",
    "attribution 4.0 international": "cc-by-4.0",
    "llama 2 community license": "llama2",
    "llama 3": "llama3",
    "gemma terms of use": "gemma",
    "bigscience rail": "bigscience-bloom-rail-1.0",
}


def licence_of(path: str) -> str:
    """The name of the licence of the base model at `path`, '' if it has none."""
    named = _from_card(_read(path, "README.md"))
    if named in ("", UNNAMED):
        with contextlib.suppress(ValueError):
            found = json.loads(_read(path, "config.json") or "{}").get("license")
            named = found if isinstance(found, str) else named
    if named in ("", UNNAMED):
        named = _from_text(path) or named
    return named


def forbids(path: str, name: str) -> str:
    """The common use that the licence forbids, as a clause; '' if none."""
    meaning = _meaning(name, NAMES)
    if meaning or name in TEXTS.values():
        return meaning
    text = next((text for file in FILES if (text := _read(path, file))), "")
    return _meaning(" ".join(text[:20_000].split()), WORDS)


def check(settings: Settings, asked: Mapping[str, Any]) -> str:
    """The name of the base's licence. Raises Invalid when it forbids common uses and nobody has
    confirmed it by its name. `asked` is the recipe of a run."""
    name = licence_of(settings.base.path)
    meaning = forbids(settings.base.path, name)
    if not meaning:
        return name
    shown = name or "without a name"
    confirmed = (str(asked.get(LICENCE, "")), settings.base.accept_licence)
    if shown.lower() in (word.lower() for word in confirmed):
        return name
    raise Invalid(
        f"Check the base model's licence ({shown}) first: {meaning}. If your use is allowed, "
        f"confirm it with --accept-licence {_quoted(shown)}, or with accept_licence = "
        f'"{shown}" under [base].'
    )


def _quoted(name: str) -> str:
    return f"'{name}'" if " " in name else name


def _from_card(text: str) -> str:
    """`license` in the header of a model card; if that is "other", its `license_name`."""
    if not text.startswith("---"):
        return ""
    head = text[3:].split("\n---", 1)[0]
    named = _field(head, "licen[cs]e")
    return _field(head, "license_name") or named if named in ("", UNNAMED) else named


def _field(head: str, key: str) -> str:
    found = re.search(rf"^{key}:[ \t]*(\S.*?)?[ \t]*$(?:\n[ \t]*-[ \t]+(\S+))?", head, re.MULTILINE)
    return (found[1] or found[2] or "").strip("\"'") if found else ""


def _from_text(path: str) -> str:
    for file in FILES:
        text = " ".join(_read(path, file)[:5_000].lower().split())
        for words, name in TEXTS.items():
            if words in text:
                return name
    return ""


def _meaning(text: str, patterns: Mapping[str, str]) -> str:
    found = (m for pattern, m in patterns.items() if re.search(pattern, text, re.IGNORECASE))
    return next(found, "")


def _read(path: str, name: str) -> str:
    """The text of a file of the base model; '' if there is none or it cannot be reached."""
    if Path(path).is_dir():
        file = Path(path) / name
        return file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
    from huggingface_hub import hf_hub_download

    with contextlib.suppress(OSError, ValueError):  # no such file, or the hub is unreachable
        return Path(hf_hub_download(path, name)).read_text(encoding="utf-8", errors="replace")
    return ""
