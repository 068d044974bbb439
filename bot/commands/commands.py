"""Every command: a frozen dataclass each, declared with its help, its role and its arguments.

Commands do not depend on a front end. A person's name includes the front end, such as
`slack:T1/U2`. A domain of None is the one that answers where the command was given. The functions
that perform the commands are in `overview_commands`, `adapter_commands`, `run_commands`,
`trigger_commands`, `comparison_commands`, `lineage_commands` and `people_commands`.
"""

from dataclasses import dataclass
from typing import Annotated

from bot.commands.registry import Argument, Command, command, verb
from data.experiments.policies import POLICIES, Policy
from data.people.roles import GRANTED, Granted, Role
from data.slack.channels import LISTENS, Listens
from data.store.errors import Invalid
from data.triggers.rules import NAMES as TRIGGER_SETTINGS

DomainName = Annotated[str | None, Argument("domain", "DOMAIN")]
Version = Annotated[str, Argument("version", "VERSION", "Which version?")]
Person = Annotated[str, Argument("person", "@PERSON")]
Full = Annotated[bool, Argument("flag", "--full", help="start from the base model.")]
Preferences = Annotated[
    bool, Argument("flag", "--preferences", help="learn from 👍 and 👎 instead of pairs.")
]
NO_CHANNEL = "there is no channel there; `domains bind` and `slack listen` name one"
Confirmed = Annotated[
    bool, Argument("flag", "--yes", help="also if a comparison ends or no adapter is live.")
]
NO_ROLES = "roles are for people who chat; whoever can run a command here may do everything"


@command(
    "menu",
    "member",
    "front end",
    "Open the menu.",
    hidden=True,
    no_cli="`understudy --help` lists the commands",
)
@dataclass(frozen=True)
class Menu(Command):
    """Nothing was typed. A front end may offer a menu."""


@dataclass(frozen=True)
class Incomplete(Command):
    """A command without its arguments. A front end that has forms asks for them."""

    name: str  # of the command
    domain: str | None = None

    @property
    def needs(self) -> Role:
        return verb(self.name).role


@command(
    "help",
    "member",
    "show",
    "List the commands.",
    lenient=True,
    no_cli="`understudy --help` does that",
)
@dataclass(frozen=True)
class Help(Command):
    pass


@command(
    "status",
    "member",
    "show",
    "Show the live adapter of each domain, the engines, and what needs attention.",
    cli="status",
)
@dataclass(frozen=True)
class StatusCommand(Command):
    pass


@command(
    "ask",
    "member",
    "front end",
    "Get an answer that only you can see.",
    no_cli="`understudy chat` holds a whole conversation instead",
)
@dataclass(frozen=True)
class AskPrivately(Command):
    question: Annotated[str, Argument("text", "QUESTION", "What would you like to ask?")]


@command("domains", "member", "show", "List all domains.", cli="domains list")
@dataclass(frozen=True)
class ListDomains(Command):
    pass


@command(
    "adapters",
    "member",
    "show",
    "List adapters, newest first.",
    cli="adapters list",
)
@dataclass(frozen=True)
class ListAdapters(Command):
    domain: DomainName = None


@command(
    "adapters lineage",
    "reviewer",
    "show",
    "Show what a version learned from: runs, datasets, pairs, people.",
    cli="adapters lineage",
)
@dataclass(frozen=True)
class ShowAdapterLineage(Command):
    version: Version
    domain: DomainName = None


@command(
    "pairs lineage",
    "reviewer",
    "show",
    "Show where a pair comes from, and which versions learned it.",
    cli="pairs lineage",
)
@dataclass(frozen=True)
class ShowPairLineage(Command):
    pair: Annotated[int, Argument("number", "PAIR", "Which pair?")]


@command("roles list", "member", "show", "List who has which role.", alone="roles", no_cli=NO_ROLES)
@dataclass(frozen=True)
class ShowRoles(Command):
    pass


@command("review", "reviewer", "front end", "Review pending pairs one by one.", cli="pairs review")
@dataclass(frozen=True)
class ReviewCommand(Command):
    domain: DomainName = None  # None: every domain


@command(
    "unanswered",
    "reviewer",
    "front end",
    "List the questions that the bot declined, and answer them.",
    cli="unanswered list",
)
@dataclass(frozen=True)
class AnswerUnanswered(Command):
    domain: DomainName = None


@command("runs", "reviewer", "show", "List the newest runs.", cli="runs list")
@dataclass(frozen=True)
class ListRuns(Command):
    domain: DomainName = None  # None: every domain


@command(
    "retrain --dry-run",
    "reviewer",
    "show",
    "Describe a run without queuing it.",
    typed="retrain",
    flag="--dry-run",
    cli="tune --dry-run",
)
@dataclass(frozen=True)
class PlanRetrain(Command):
    domain: DomainName = None
    full: Full = False
    preferences: Preferences = False

    def __post_init__(self) -> None:
        _one_source(self.full, self.preferences)


@command(
    "retrain",
    "admin",
    "change",
    "Train the next adapter of a domain on its approved pairs.",
    cli="tune",
)
@dataclass(frozen=True)
class RetrainCommand(Command):
    domain: DomainName = None
    full: Full = False
    preferences: Preferences = False

    def __post_init__(self) -> None:
        _one_source(self.full, self.preferences)


def _one_source(full: bool, preferences: bool) -> None:
    if full and preferences:
        raise Invalid(
            "`--full` starts from the base model, and `--preferences` continues from the live "
            "version with the answers that people rated. Please choose one of them."
        )


@command(
    "triggers show",
    "reviewer",
    "show",
    "Show when a domain retrains by itself, and what would be trained now.",
    alone="triggers",
    cli="triggers show",
)
@dataclass(frozen=True)
class ShowTriggers(Command):
    domain: DomainName = None


@command(
    "triggers set",
    "admin",
    "change",
    "Set when a domain retrains by itself, and what becomes of the result.",
    cli="triggers set",
)
@dataclass(frozen=True)
class SetTrigger(Command):
    setting: Annotated[
        str,
        Argument(
            "choice",
            "SETTING",
            "Which setting?",
            help=f"{', '.join(TRIGGER_SETTINGS[:-1])} or {TRIGGER_SETTINGS[-1]}.",
            choices=TRIGGER_SETTINGS,
        ),
    ]
    value: Annotated[
        str, Argument("words", "VALUE", "To which value?", help="off removes the setting.")
    ]
    domain: Annotated[
        str | None, Argument("domain", "--domain DOMAIN", help="another domain than the one here.")
    ] = None


@command(
    "cancel",
    "admin",
    "change",
    "Cancel a run: immediately if it is queued, within seconds if it is running.",
    cli="runs cancel",
)
@dataclass(frozen=True)
class CancelRun(Command):
    run_id: Annotated[int, Argument("number", "RUN", "Which run?", listed_by="runs")]


@command(
    "ab status",
    "reviewer",
    "show",
    "Show the running comparison, or the last one.",
    alone="ab",
    cli="ab status",
)
@dataclass(frozen=True)
class ShowComparison(Command):
    domain: DomainName = None


@command(
    "ab decisions",
    "reviewer",
    "show",
    "List the decisions about the running comparison, or the last one.",
    cli="ab decisions",
)
@dataclass(frozen=True)
class ListDecisions(Command):
    domain: DomainName = None


@command(
    "ab explain",
    "reviewer",
    "show",
    "Recompute a decision from its stored numbers, and check that the result is the same.",
    cli="ab explain",
)
@dataclass(frozen=True)
class ExplainDecision(Command):
    decision: Annotated[
        int, Argument("number", "DECISION", "Which decision?", listed_by="ab decisions")
    ]


@command(
    "ab start",
    "admin",
    "change",
    "Compare A (the control) with B.",
    cli="ab start",
    details="`live:grounded` and `live:ungrounded` compare answers from approved pairs with those "
    "of the adapter alone.",
)
@dataclass(frozen=True)
class StartComparison(Command):
    a: Annotated[str, Argument("version", "A", "Which two versions?")]
    b: Annotated[str, Argument("version", "B", "Which two versions?")]
    domain: DomainName = None
    share: Annotated[
        float, Argument("percent", "--split PERCENT", help="the percentage of people who get B.")
    ] = 0.5
    pairwise: Annotated[
        bool, Argument("flag", "--pairwise", help="sometimes show both answers to choose from.")
    ] = False


@command(
    "ab ramp",
    "admin",
    "change",
    "Raise the share of people who get a candidate.",
    cli="ab ramp",
    details="The share can only grow, and people who have had an answer stay on their variant.",
)
@dataclass(frozen=True)
class RampComparison(Command):
    share: Annotated[float, Argument("percent", "PERCENT", "What percentage of people?")]
    domain: DomainName = None


@command(
    "ab tester",
    "admin",
    "change",
    "Put a person on one variant, without counting them in the results.",
    cli="ab tester",
    details="Name the PERSON as in slack:T1/U2, and the VARIANT by its letter.",
)
@dataclass(frozen=True)
class PutTester(Command):
    person: Person
    label: Annotated[str, Argument("variant", "VARIANT", "Which variant: A, B, …?")]
    domain: DomainName = None


@command(
    "ab stop",
    "admin",
    "change",
    "Stop the running comparison; everyone gets the live adapter again.",
    cli="ab stop",
)
@dataclass(frozen=True)
class StopComparison(Command):
    domain: DomainName = None


@command(
    "policy set",
    "admin",
    "change",
    "Set which decisions about comparisons are automatic.",
    typed="policy",
    cli="domains policy",
)
@dataclass(frozen=True)
class SetPolicy(Command):
    policy: Annotated[
        Policy,
        Argument(
            "choice",
            "NAME",
            "Which policy?",
            help="advise, auto-promote, auto-roll-back or auto.",
            choices=POLICIES,
        ),
    ]
    domain: DomainName = None


@command(
    "policy",
    "reviewer",
    "show",
    "Show which decisions about comparisons are automatic.",
    no_cli="`understudy domains policy NAME` shows it, the command that also sets it",
)
@dataclass(frozen=True)
class ShowPolicy(Command):
    domain: DomainName = None


@command(
    "promote",
    "admin",
    "change",
    "Make a version the live adapter, starting with the next message.",
    cli="adapters promote",
)
@dataclass(frozen=True)
class Promote(Command):
    version: Version
    domain: DomainName = None
    confirmed: Confirmed = False


@command(
    "rollback",
    "admin",
    "change",
    "Undo the last promotion, starting with the next message.",
    cli="adapters rollback",
)
@dataclass(frozen=True)
class RollBack(Command):
    domain: DomainName = None
    confirmed: Confirmed = False


@command("retire", "admin", "change", "Take a candidate out of service.", cli="adapters retire")
@dataclass(frozen=True)
class Retire(Command):
    version: Version
    domain: DomainName = None


@command(
    "channel",
    "member",
    "show",
    "Show which domain answers in this channel, and which messages the bot answers.",
    no_cli=NO_CHANNEL,
)
@dataclass(frozen=True)
class ShowChannel(Command):
    pass


@command(
    "channel listen",
    "admin",
    "change",
    "Answer every question in this channel, only those that mention the bot, or none.",
    no_cli=NO_CHANNEL,
)
@dataclass(frozen=True)
class SetChannelListens(Command):
    to: Annotated[
        Listens,
        Argument(
            "choice",
            "MODE",
            "What should I answer here?",
            help="all, mentions or off.",
            choices=LISTENS,
        ),
    ]


@command(
    "channel domain",
    "admin",
    "change",
    "Choose which domain answers in this channel; without DOMAIN, the default one.",
    no_cli=NO_CHANNEL,
)
@dataclass(frozen=True)
class SetChannelDomain(Command):
    domain: DomainName = None


@command(
    "forget",
    "admin",
    "change",
    "Permanently erase everything that a person wrote.",
    cli="forget",
)
@dataclass(frozen=True)
class Forget(Command):
    person: Person
    retrain: Annotated[
        bool, Argument("flag", "--retrain", help="also replace the versions that learned it.")
    ] = False


@command("roles add", "admin", "change", "Grant a person a role.", no_cli=NO_ROLES)
@dataclass(frozen=True)
class GrantRole(Command):
    person: Person
    role: Annotated[
        Granted,
        Argument("choice", "ROLE", "Which role: reviewer or admin?", choices=GRANTED),
    ]


@command("roles remove", "admin", "change", "Revoke a granted role.", no_cli=NO_ROLES)
@dataclass(frozen=True)
class RevokeRole(Command):
    person: Person
