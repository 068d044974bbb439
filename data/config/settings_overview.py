"""All settings as they are, each with what set it. Secrets are never shown."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from pydantic import SecretStr

from data.config.settings import SECTIONS, Settings

DEFAULT = "default"


@dataclass(frozen=True)
class ShownSetting:
    """One setting."""

    section: str  # '' for `home`
    name: str
    value: str  # of a secret, only whether it is set
    source: str  # the file, the variable, or `default`
    description: str


def overview(settings: Settings) -> list[ShownSetting]:
    """In the order of the reference."""
    return list(_settings(settings))


def _settings(settings: Settings) -> Iterator[ShownSetting]:
    home = type(settings).model_fields["home"].description or ""
    yield ShownSetting("", "home", str(settings.home), _source(settings, "home"), home)
    for section, model in SECTIONS.items():
        values = getattr(settings, section)
        for name, field in model.model_fields.items():
            source = _source(settings, f"{section}.{name}")
            shown = _shown(getattr(values, name))
            yield ShownSetting(section, name, shown, source, field.description or "")


def _source(settings: Settings, name: str) -> str:
    return settings.sources.get(name, DEFAULT)


def _shown(value: Any) -> str:
    if isinstance(value, SecretStr):
        return "set" if value.get_secret_value() else "not set"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple | list):
        return ", ".join(_shown(one) for one in value) or "none"
    return _without_password(str(value)) if value not in ("", None) else "none"


def _without_password(text: str) -> str:
    """An address without what stands before its `@`."""
    try:
        parts = urlsplit(text)
        if parts.scheme in ("http", "https") and parts.username is not None:
            return text.replace(f"{parts.netloc.rpartition('@')[0]}@", "")
    except ValueError:  # no address
        return text
    return text
