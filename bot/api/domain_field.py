"""The `domain` field of requests."""

from typing import Annotated

from pydantic import Field
from sqlite_utils import Database

from data import domains
from data.domains import Domain

DomainName = Annotated[str, Field(max_length=32, description="The name of a domain.")]


def domain_of(db: Database, name: str | None) -> Domain:
    """The domain with this name, or the default domain. Raises NotFound."""
    return domains.default(db) if name is None else domains.get(db, name)
