"""What can be done from Slack: each command a frozen dataclass that knows the role it needs.

`grammar.py` reads them from what was typed. A domain that is not named is None: the channel's own.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from data.experiments.policies import Policy
from data.people.roles import Granted, Role


@dataclass(frozen=True)
class Command:
    needs: ClassVar[Role] = "member"


@dataclass(frozen=True)
class Menu(Command):
    """Nothing was typed: the form from which everything can be done."""


@dataclass(frozen=True)
class Help(Command):
    pass


@dataclass(frozen=True)
class StatusCommand(Command):
    pass


@dataclass(frozen=True)
class AskPrivately(Command):
    question: str


@dataclass(frozen=True)
class ListDomains(Command):
    pass


@dataclass(frozen=True)
class ListAdapters(Command):
    domain: str | None = None


@dataclass(frozen=True)
class ShowRoles(Command):
    pass


@dataclass(frozen=True)
class ListRuns(Command):
    needs = "reviewer"
    domain: str | None = None


@dataclass(frozen=True)
class ReviewCommand(Command):
    needs = "reviewer"
    domain: str | None = None  # None: every domain


@dataclass(frozen=True)
class PlanRetrain(Command):
    needs = "reviewer"
    domain: str | None = None
    full: bool = False
    preferences: bool = False


@dataclass(frozen=True)
class ShowComparison(Command):
    needs = "reviewer"
    domain: str | None = None


@dataclass(frozen=True)
class RetrainCommand(Command):
    needs = "admin"
    domain: str | None = None
    full: bool = False  # from the bare base
    preferences: bool = False  # from thumbs instead of pairs


@dataclass(frozen=True)
class CancelRun(Command):
    needs = "admin"
    run_id: int


@dataclass(frozen=True)
class StartComparison(Command):
    needs = "admin"
    a: str
    b: str
    domain: str | None = None
    share: float = 0.5  # of the people, for b
    pairwise: bool = False  # now and then both answer, blinded, and the person chooses


@dataclass(frozen=True)
class StopComparison(Command):
    needs = "admin"
    domain: str | None = None


@dataclass(frozen=True)
class Promote(Command):
    needs = "admin"
    version: str
    domain: str | None = None


@dataclass(frozen=True)
class Retire(Command):
    needs = "admin"
    version: str
    domain: str | None = None


@dataclass(frozen=True)
class RollBack(Command):
    needs = "admin"
    domain: str | None = None


@dataclass(frozen=True)
class Forget(Command):
    needs = "admin"
    user: str


@dataclass(frozen=True)
class GrantRole(Command):
    needs = "admin"
    user: str
    role: Granted


@dataclass(frozen=True)
class RevokeRole(Command):
    needs = "admin"
    user: str


@dataclass(frozen=True)
class RampComparison(Command):
    needs = "admin"
    share: float  # of the people, who get a candidate from now on
    domain: str | None = None


@dataclass(frozen=True)
class PutTester(Command):
    needs = "admin"
    user: str
    label: str  # of the side that answers them
    domain: str | None = None


@dataclass(frozen=True)
class ListDecisions(Command):
    needs = "reviewer"
    domain: str | None = None


@dataclass(frozen=True)
class ExplainDecision(Command):
    needs = "reviewer"
    decision: int


@dataclass(frozen=True)
class ShowPolicy(Command):
    needs = "reviewer"
    domain: str | None = None


@dataclass(frozen=True)
class SetPolicy(Command):
    needs = "admin"
    policy: Policy
    domain: str | None = None


What = Literal[
    "promote",
    "retire",
    "cancel",
    "ab start",
    "ab ramp",
    "ab tester",
    "policy set",
    "forget",
    "roles add",
    "roles remove",
]


@dataclass(frozen=True)
class Choose(Command):
    """A command of which nothing but its name was said: a form asks for the rest."""

    needs = "admin"
    what: What
    domain: str | None = None
