"""Error messages for settings, without pydantic's jargon."""

import difflib
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ValidationError

EXPECTED = {  # pydantic's error type -> message
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
    """One line per mistake. `origin` names the source of settings that are not from `file`. Never
    shows a value, because it may be a secret."""

    def name_of(location: tuple[str, ...]) -> str:
        """A setting as the file and the docs write it, `[bot] port`, or a section, `[bot]`."""
        first, *rest = location
        if not rest:
            return f"[{first}]" if first in sections else first
        return f"[{first}] {' '.join(rest)}"

    lines = []
    for problem in error.errors():
        location = tuple(str(part) for part in problem["loc"])
        message = problem["msg"].removeprefix("Value error, ")
        if not location:  # two settings that contradict each other
            lines.append(message)
            continue
        source = origin.get(".".join(location), str(file))
        if problem["type"] == "extra_forbidden":
            model = settings if len(location) == 1 else sections[location[0]]
            near = difflib.get_close_matches(location[-1], model.model_fields, n=1)
            message = "is not a setting."
            message += f" Did you mean {name_of((*location[:-1], near[0]))}?" if near else ""
        elif problem["type"] in EXPECTED:
            message = EXPECTED[problem["type"]].format(**problem.get("ctx", {}))
        lines.append(f"{name_of(location)} (in {source}): {message}")
    return "The settings cannot be used:\n  " + "\n  ".join(lines)
