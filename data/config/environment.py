"""Settings from the environment: `UNDERSTUDY_SECTION_KEY`, or a file that `..._FILE` names."""

import difflib
import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from data.config.sections.fields import Section
from data.store.errors import Invalid

log = logging.getLogger(__name__)

PREFIX = "UNDERSTUDY_"
CONFIG = "UNDERSTUDY_CONFIG"
HOME = "UNDERSTUDY_HOME"
OWN = (CONFIG, HOME, "UNDERSTUDY_LISTENER")  # the last is between our own processes
LIKENESS = 0.8  # from which on a name is taken for a misspelt setting
KUBERNETES = re.compile(  # variables about services with a name like ours
    r"\w+_SERVICE_(HOST|PORT)(_\w+)?|\w+_PORT_\d+_(TCP|UDP|SCTP)(_\w+)?"
)
KUBERNETES_ADDRESS = re.compile(r"(tcp|udp|sctp)://")


def apply(
    values: dict[str, Any], environ: Mapping[str, str], sections: Mapping[str, type[Section]]
) -> dict[str, str]:
    """Add the environment's settings to `values`. Returns setting -> variable that set it.

    An empty variable counts as one that is not set. Raises Invalid for a variable that is probably
    a misspelt setting, and for a file that cannot be read.
    """
    given = {
        name: text
        for name, text in environ.items()
        if name.startswith(PREFIX) and text and not _is_from_kubernetes(name, text)
    }
    _check_variables(given, sections)
    origin: dict[str, str] = {}
    if HOME in given:
        values["home"] = given[HOME]
        origin["home"] = HOME
    for section, model in sections.items():
        for key, field in model.model_fields.items():
            variable = f"{PREFIX}{section}_{key}".upper()
            text = _variable(variable, given)
            if text is None:
                continue
            is_list = str(field.annotation).startswith("tuple")
            parsed: Any = [v.strip() for v in text.split(",") if v.strip()] if is_list else text
            table = values.setdefault(section, {})
            if isinstance(table, dict):
                table[key] = parsed
                origin[f"{section}.{key}"] = variable
    return origin


def _is_from_kubernetes(name: str, text: str) -> bool:
    """Whether Kubernetes set the variable, because a service has a name like ours."""
    is_address = name.endswith("_PORT") and KUBERNETES_ADDRESS.match(text) is not None
    return is_address or KUBERNETES.fullmatch(name) is not None


def _check_variables(given: Mapping[str, str], sections: Mapping[str, type[Section]]) -> None:
    """Raise Invalid for a variable that looks like a setting but is not one, and warn about any
    other. Otherwise a typing error would go unnoticed."""
    known = {f"{s}_{key}".upper() for s, model in sections.items() for key in model.model_fields}
    prefixes = tuple(f"{PREFIX}{section}_".upper() for section in sections)
    for name in sorted(given):
        try:
            given[name].encode()
        except UnicodeEncodeError:
            raise Invalid(f"{name} in the environment is not text in UTF-8.") from None
        key = name.removeprefix(PREFIX).removesuffix("_FILE")
        if name in OWN or key in known:
            continue
        meant = [setting for setting in sorted(known) if setting.split("_", 1)[1] == key]
        meant = meant or difflib.get_close_matches(key, known, n=1, cutoff=LIKENESS)
        if meant or name.startswith(prefixes):
            meant = meant or difflib.get_close_matches(key, known, n=1)
            hint = " or ".join(PREFIX + setting for setting in meant)
            hint = f" Did you mean {hint}?" if hint else ""
            raise Invalid(f"{name} in the environment is not a setting.{hint}")
        log.warning("%s in the environment is not a setting; it is ignored", name)


def _variable(name: str, given: Mapping[str, str]) -> str | None:
    """The value of a variable, or the content of the file that `NAME_FILE` names; None if neither
    is set."""
    file = given.get(f"{name}_FILE")
    if file is None:
        return given.get(name)
    if name in given:
        raise Invalid(f"Both {name} and {name}_FILE are set; keep one of them.")
    try:
        return Path(file).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise Invalid(f"{name}_FILE: {file} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise Invalid(f"{name}_FILE: {file} is not text in UTF-8.") from error
