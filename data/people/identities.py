"""Identities: how a person is known, which kinds are verified, and what stands behind the others.

An id says its kind:

| id | kind | verified |
| --- | --- | --- |
| `slack:T1/U2` | `slack`: a member of a Slack workspace | yes |
| `user:ID` | `signed_in`: a person who signed in on the web pages | yes |
| `cli:NAME` | `operator`: a person at the command line, who can change the store anyway | yes |
| `http:KEY` | `key`: an API key without a `user` name | if the key is marked as one person |
| `http:KEY/USER` | `key_user`: a `user` name of an API key | if the key vouches for its users |
| `web:SESSION` | `web_session`: a browser that nobody signed in to | no |

Verified means that somebody else than the person answers for it that this is one person, and always
the same: Slack, a sign-in, or the owner of a key. Anybody can invent as many other identities as
they like, so comparisons decide without these, or limit what each *source* of them weighs: a key,
or the address of a browser (`data/experiments/counted_people.py`). A key's marks are read when they
are needed, so marking a key changes how its people count in a running comparison, too.

Ids are normalised, so that one name is one person: NFC, without blanks around it. Slack's ids are
in upper case, sign-ins and e-mail addresses in lower case; other names keep their case, because
some systems have ids that differ only in it.
"""

import ipaddress
import unicodedata
from typing import Literal

from sqlite_utils import Database

from data.store.db import value
from data.store.secret import keyed_digest

IdentityKind = Literal["slack", "signed_in", "operator", "key", "key_user", "web_session"]
ALWAYS_VERIFIED: tuple[IdentityKind, ...] = ("slack", "signed_in", "operator")
PREFIXES: dict[str, IdentityKind] = {
    "slack": "slack",
    "user": "signed_in",
    "cli": "operator",
    "web": "web_session",
}
IPV6_BLOCK = 64  # bits: the network that one household or company gets
UNKNOWN_ADDRESS = "unknown"


def kind_of(person: str) -> IdentityKind | None:
    """The kind of identity, from the id alone; None for the pseudonym of an erased person."""
    prefix, _, rest = person.partition(":")
    if prefix == "http":
        return "key_user" if "/" in rest else "key"
    return PREFIXES.get(prefix)


def key_of(person: str) -> int | None:
    """The id of the API key that the identity belongs to, or None."""
    prefix, _, rest = person.partition(":")
    number = rest.partition("/")[0]
    return int(number) if prefix == "http" and number.isdecimal() else None


def is_verified(db: Database, person: str) -> bool:
    """Whether somebody answers for it that this identity is one person."""
    kind = kind_of(person)
    if kind in ALWAYS_VERIFIED:
        return True
    key = key_of(person)
    if key is None:
        return False
    people = value(db, "SELECT people FROM api_keys WHERE id = ?", [key])
    return (kind, people) in (("key", "one"), ("key_user", "vouched"))


def key_user(key_id: int, user: str | None = None) -> str:
    """The id of the person with that `user` name of a key, or of the key itself."""
    name = normalised_name(user or "")
    return f"http:{key_id}/{name}" if name else f"http:{key_id}"


def normalised(person: str) -> str:
    """The same id in its one spelling; what is no id stays as it is."""
    prefix, colon, rest = person.strip().partition(":")
    if not colon:
        return person
    if prefix == "http":
        key, _, name = rest.partition("/")
        name = normalised_name(name)
        return f"http:{key}/{name}" if name else f"http:{key}"
    rest = unicodedata.normalize("NFC", rest).strip()
    if prefix == "slack":
        return f"slack:{unicodedata.normalize('NFC', rest.upper())}"
    return f"user:{_folded(rest)}" if prefix == "user" else f"{prefix}:{rest}"


def normalised_name(name: str) -> str:
    """A `user` name in its one spelling."""
    name = unicodedata.normalize("NFC", name).strip()
    return _folded(name) if "@" in name else name


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name.casefold())


def source_of(db: Database, person: str, address: str = "") -> str:
    """What stands behind an identity: `key:3`, or for a browser `address:` and a keyed digest. It
    is empty if the identity stands for itself.

    `address` is the IP address of the browser, and is not kept."""
    kind = kind_of(person)
    if kind in ("key", "key_user"):
        return f"key:{key_of(person)}"
    if kind != "web_session":
        return ""
    return f"address:{keyed_digest(db, 'address', address_block(address))}"


def address_block(address: str) -> str:
    """The address, or for IPv6 its network of 64 bits; `unknown` for anything else."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return UNKNOWN_ADDRESS
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((found, IPV6_BLOCK), strict=False))


def person_of(db: Database, identity: str) -> str:
    """The person that an identity belongs to: another id, if the two were joined, or else the
    identity itself."""
    found = value(db, "SELECT person FROM joined_identities WHERE identity = ?", [identity])
    return identity if found is None else str(found)


def person_named(db: Database, identity: str) -> str:
    """The person whom an id means that somebody typed, in any spelling."""
    return person_of(db, normalised(identity))
