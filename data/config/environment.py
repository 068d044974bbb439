"""Settings from the environment: `UNDERSTUDY_SECTION_KEY`, or a file that `..._FILE` names."""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from data.config.sections.fields import Section
from data.store.errors import Invalid


def apply(
    values: dict[str, Any], environ: Mapping[str, str], sections: Mapping[str, type[Section]]
) -> dict[str, str]:
    """Add the environment's settings to `values`. Returns setting -> variable that set it.

    Raises Invalid for a variable that is no setting, and for a file that cannot be read.
    """
    _check_variable_names(environ, sections)
    origin: dict[str, str] = {}
    if "UNDERSTUDY_HOME" in environ:
        values["home"] = environ["UNDERSTUDY_HOME"]
        origin["home"] = "UNDERSTUDY_HOME"
    for section, model in sections.items():
        for key, field in model.model_fields.items():
            variable = f"UNDERSTUDY_{section}_{key}".upper()
            text = _variable(variable, environ)
            if text is None:
                continue
            is_list = str(field.annotation).startswith("tuple")
            parsed: Any = [v.strip() for v in text.split(",") if v.strip()] if is_list else text
            table = values.setdefault(section, {})
            if isinstance(table, dict):
                table[key] = parsed
                origin[f"{section}.{key}"] = variable
    return origin


def _check_variable_names(
    environ: Mapping[str, str], sections: Mapping[str, type[Section]]
) -> None:
    """Raise Invalid for a variable that looks like a setting but is not one. Otherwise a typing
    error would go unnoticed."""
    known = {f"{s}_{key}".upper() for s, model in sections.items() for key in model.model_fields}
    prefixes = tuple(f"UNDERSTUDY_{section}_".upper() for section in sections)
    for name in sorted(n for n in environ if n.startswith(prefixes)):
        key = name.removeprefix("UNDERSTUDY_")
        if key.removesuffix("_FILE") not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f" Did you mean UNDERSTUDY_{near[0]}?" if near else ""
            raise Invalid(f"{name} in the environment is not a setting.{hint}")


def _variable(name: str, environ: Mapping[str, str]) -> str | None:
    """The value of a variable, or the content of the file that `NAME_FILE` names; None if neither
    is set."""
    file = environ.get(f"{name}_FILE")
    if file is None:
        return environ.get(name)
    if name in environ:
        raise Invalid(f"Both {name} and {name}_FILE are set; keep one of them.")
    try:
        return Path(file).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise Invalid(f"{name}_FILE: {file} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise Invalid(f"{name}_FILE: {file} is not text in UTF-8.") from error
