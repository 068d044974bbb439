"""How requests name a domain."""

from typing import Annotated

from pydantic import Field
from sqlite_utils import Database

from data import domains
from data.domains import Domain

DomainName = Annotated[str, Field(max_length=32, description="The name of a domain.")]


def domain_of(db: Database, name: str | None) -> Domain:
    """The domain of that name, or the default one. Raises NotFound."""
    return domains.default(db) if name is None else domains.get(db, name)
