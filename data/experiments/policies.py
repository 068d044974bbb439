"""Policies: which decisions about a domain's comparisons need no person, and the domain's holdout.

The holdout is a share of the people, who are in no comparison and always get the live adapter. A
hash with a salt of the domain selects them, so they are the same people in every comparison. A
larger holdout only adds people.
"""

import secrets
from dataclasses import dataclass
from typing import Literal, get_args

from sqlite_utils import Database

from data.domains import Domain
from data.store import audit
from data.store.db import row
from data.store.errors import Invalid

Policy = Literal["advise", "auto-promote", "auto-roll-back", "auto"]
POLICIES: tuple[Policy, ...] = get_args(Policy)
MAX_HOLDOUT = 0.5


@dataclass(frozen=True)
class Rules:
    policy: Policy = "advise"
    holdout: float = 0.0  # of the people, 0..0.5

    @property
    def may_promote(self) -> bool:
        return self.policy in ("auto-promote", "auto")

    @property
    def may_roll_back(self) -> bool:
        return self.policy in ("auto-roll-back", "auto")


def policy_of(db: Database, domain_id: int) -> Rules:
    """The domain's rules; a rule that was never set has its default."""
    found = row(
        db, "SELECT policy, holdout FROM experiment_policies WHERE domain_id = ?", [domain_id]
    )
    return Rules(**found) if found else Rules()


def set_policy(db: Database, domain: Domain, policy: str, actor: str) -> Rules:
    """Raises Invalid."""
    if policy not in POLICIES:
        raise Invalid(f"{policy!r} is not a policy (choose from: {', '.join(POLICIES)}).")
    _set(db, domain, "policy", policy)
    audit.record(db, actor, "domain policy", domain.name, policy=policy)
    return policy_of(db, domain.id)


def set_holdout(db: Database, domain: Domain, share: float, actor: str) -> Rules:
    """Keep `share` of the people (0..0.5) out of every comparison. Raises Invalid."""
    if not 0 <= share <= MAX_HOLDOUT:
        raise Invalid(f"The holdout must lie between 0 and {MAX_HOLDOUT:.0%} of the people.")
    _set(db, domain, "holdout", share)
    audit.record(db, actor, "domain holdout", domain.name, share=share)
    return policy_of(db, domain.id)


def _set(db: Database, domain: Domain, column: str, setting: str | float) -> None:
    db.execute(
        f"INSERT INTO experiment_policies (domain_id, {column}, holdout_salt) VALUES (?, ?, ?) "
        f"ON CONFLICT (domain_id) DO UPDATE SET {column} = excluded.{column}",
        [domain.id, setting, secrets.token_hex(16)],
    )
