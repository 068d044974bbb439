"""What a section of the settings is, and the types that fields of several sections have."""

from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict

LAST_PORT = 65535


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _listed(value: Any) -> Any:
    """Split text at its commas; other values stay as they are."""
    return [v.strip() for v in value.split(",") if v.strip()] if isinstance(value, str) else value


TextList = Annotated[tuple[str, ...], BeforeValidator(_listed)]


def is_address(url: str) -> bool:
    """Whether this is an address with http or https, a host and a usable port."""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # the port is not a number, or out of range
        return False
