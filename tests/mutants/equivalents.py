"""Mutants that no test can kill, as they behave like the original: `equivalent.toml`.

An entry names a mutant by its function and the lines that it changes, and says why it is
equivalent. An entry that fits no mutant any more is reported, so that the list stays true.
"""

import tomllib
from pathlib import Path

from tests.mutants.generate import without_comments

LIST = Path(__file__).with_name("equivalent.toml")
Key = tuple[str, str, str]  # function, lines before, lines after


def modules() -> list[str]:
    """Those that have any."""
    return list(tomllib.loads(LIST.read_text()))


def of_module(path: str) -> dict[Key, str]:
    """Each equivalent mutant of the module with the reason."""
    entries = tomllib.loads(LIST.read_text()).get(path, [])
    return {_key(entry): entry["reason"] for entry in entries}


def _key(entry: dict[str, str]) -> Key:
    before, after = (
        without_comments("\n".join(line.strip() for line in entry[name].strip("\n").split("\n")))
        for name in ("before", "after")
    )
    return entry.get("function", ""), before, after
