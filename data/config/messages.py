"""What is wrong with settings, in words that a person would use."""

import difflib
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ValidationError

WANTED = {  # what pydantic says of a value that does not fit, as a person would say it
    "int_type": "it must be a whole number",
    "int_parsing": "it must be a whole number",
    "int_from_float": "it must be a whole number",
    "float_type": "it must be a number",
    "float_parsing": "it must be a number",
    "bool_type": "it must be true or false",
    "bool_parsing": "it must be true or false",
    "string_type": "it must be text, in quotes",
    "string_too_short": "it must not be empty",
    "path_type": "it must be the path of a folder, in quotes",
    "tuple_type": 'it must be a list, such as ["one", "two"]',
    "model_type": "it must be a section: its name in brackets on a line, its settings below",
    "literal_error": "it must be {expected}",
    "greater_than": "it must be more than {gt}",
    "greater_than_equal": "it must be at least {ge}",
    "less_than": "it must be less than {lt}",
    "less_than_equal": "it must be at most {le}",
}


def describe(
    error: ValidationError,
    file: Path,
    origin: Mapping[str, str],
    settings: type[BaseModel],
    sections: Mapping[str, type[BaseModel]],
) -> str:
    """A line for each mistake; `origin` says which setting is not from `file`. Never shows a
    value: it may be a secret."""

    def shown(place: tuple[str, ...]) -> str:
        """A setting as the file and the docs write it: `[bot] port`; a section as `[bot]`."""
        first, *rest = place
        if not rest:
            return f"[{first}]" if first in sections else first
        return f"[{first}] {' '.join(rest)}"

    lines = []
    for problem in error.errors():
        place = tuple(str(part) for part in problem["loc"])
        message = problem["msg"].removeprefix("Value error, ")
        if not place:  # two settings that don't go together
            lines.append(message)
            continue
        where = origin.get(".".join(place), str(file))
        if problem["type"] == "extra_forbidden":
            model = settings if len(place) == 1 else sections[place[0]]
            near = difflib.get_close_matches(place[-1], model.model_fields, n=1)
            message = "is not a setting."
            message += f" Did you mean {shown((*place[:-1], near[0]))}?" if near else ""
        elif problem["type"] in WANTED:
            message = WANTED[problem["type"]].format(**problem.get("ctx", {}))
        lines.append(f"{shown(place)} (in {where}): {message}")
    return "The settings cannot be used:\n  " + "\n  ".join(lines)
