"""Domains, the topics that the bot answers, and the Slack channels bound to them."""

import re
from dataclasses import dataclass
from typing import Literal

import orjson
from sqlite_utils import Database

from data.store.clock import now_us
from data.store.db import Row, changed, insert, row, rows
from data.store.errors import Conflict, Invalid, NotFound

NAME = re.compile(r"[a-z][a-z0-9-]{0,31}")
RESERVED = {"base"}
TEAM = r"[TE][A-Z0-9]{1,20}"
PEOPLE = re.compile(rf"{TEAM}/[CG][A-Z0-9]{{1,20}}|slack:{TEAM}/[UW][A-Z0-9]{{1,20}}")
COLUMNS = (
    "id, name, title, system_prompt, suggested_prompts, validation_share, is_default, refusal, "
    "answer_mode, decline_below, people"
)
AnswerMode = Literal["grounded", "quote", "adapter"]
MAX_REFUSAL = 500  # characters


@dataclass(frozen=True)
class Domain:
    id: int
    name: str
    title: str
    system_prompt: str
    suggested_prompts: tuple[str, ...]
    validation_share: float  # share of its facts held out of training for validation
    is_default: bool
    refusal: str = ""  # what people read when the bot has no answer; '': the usual sentence
    answer_mode: Literal["", AnswerMode] = ""  # '': the setting [answers] mode
    decline_below: float | None = None  # a similarity; None: the setting [answers] decline_below
    people: str = ""  # who answers what the bot cannot: T1/C1 (a channel) or slack:T1/U1

    @property
    def refusal_text(self) -> str:
        """What people read when the bot has no answer."""
        return self.refusal or (
            f"I don't have an approved answer to that. I answer questions about {self.title}."
        )


def created_at(db: Database, domain_id: int) -> int:
    """When a domain was added, in microseconds."""
    found = row(db, "SELECT created_at FROM domains WHERE id = ?", [domain_id])
    return int(found["created_at"]) if found else 0


def create(
    db: Database,
    name: str,
    title: str = "",
    system_prompt: str = "",
    suggested_prompts: tuple[str, ...] = (),
    validation_share: float = 0.1,
) -> Domain:
    """Add a domain; the first one is the default. Raises Invalid or Conflict."""
    suggested = _suggested(suggested_prompts)
    if not NAME.fullmatch(name) or name in RESERVED:
        raise Invalid(
            f"{name!r} is not a valid domain name. Use up to 32 lower-case letters, digits and "
            "'-', starting with a letter. The name 'base' is reserved."
        )
    if not 0 <= validation_share <= 0.5:
        raise Invalid("The validation share must be between 0 and 0.5.")
    if row(db, "SELECT 1 FROM domains WHERE name = ?", [name]):
        raise Conflict(f"A domain named {name!r} already exists.")
    first = row(db, "SELECT 1 FROM domains") is None
    insert(
        db,
        "domains",
        name=name,
        title=title or name,
        system_prompt=system_prompt,
        suggested_prompts=suggested,
        validation_share=validation_share,
        is_default=int(first),
        created_at=now_us(),
    )
    return get(db, name)


def get(db: Database, name: str) -> Domain:
    """The domain with that name. Raises NotFound, listing the existing domains."""
    found = row(db, f"SELECT {COLUMNS} FROM domains WHERE name = ?", [name])
    if found is None:
        known = ", ".join(d.name for d in list_domains(db))
        hint = f"(there are: {known})" if known else "yet. Add one: `understudy domains add NAME`"
        raise NotFound(f"There is no domain {name!r} {hint}.")
    return _domain(found)


def by_id(db: Database, domain_id: int) -> Domain:
    """The domain with that id. Raises NotFound."""
    found = row(db, f"SELECT {COLUMNS} FROM domains WHERE id = ?", [domain_id])
    if found is None:
        raise NotFound(f"There is no domain number {domain_id}.")
    return _domain(found)


def default(db: Database) -> Domain:
    """The default domain. Raises NotFound if there are no domains."""
    found = row(db, f"SELECT {COLUMNS} FROM domains WHERE is_default = 1")
    if found is None:
        raise NotFound("There is no domain yet. Add one: `understudy domains add NAME`.")
    return _domain(found)


def list_domains(db: Database) -> list[Domain]:
    """All domains by name."""
    found = rows(db, f"SELECT {COLUMNS} FROM domains ORDER BY name")
    return [_domain(r) for r in found]


def make_default(db: Database, domain: Domain) -> None:
    db.execute("UPDATE domains SET is_default = 0 WHERE is_default = 1")
    db.execute("UPDATE domains SET is_default = 1 WHERE id = ?", [domain.id])


def set_system_prompt(db: Database, domain: Domain, system_prompt: str) -> None:
    db.execute("UPDATE domains SET system_prompt = ? WHERE id = ?", [system_prompt, domain.id])


def set_suggested_prompts(db: Database, domain: Domain, questions: tuple[str, ...]) -> None:
    """Set the questions shown when a person starts a conversation. Raises Invalid if one is
    empty."""
    stored = _suggested(questions)
    db.execute("UPDATE domains SET suggested_prompts = ? WHERE id = ?", [stored, domain.id])


def set_refusal(db: Database, domain: Domain, text: str) -> None:
    """Set what people read when the bot has no answer; '' restores the usual sentence. Raises
    Invalid if it is too long."""
    text = text.strip()
    if len(text) > MAX_REFUSAL:
        raise Invalid(f"A refusal has at most {MAX_REFUSAL} characters; this one has {len(text)}.")
    db.execute("UPDATE domains SET refusal = ? WHERE id = ?", [text, domain.id])


def set_answer_mode(db: Database, domain: Domain, mode: Literal["", AnswerMode]) -> None:
    """Override `[answers] mode` for the domain; '' removes the override."""
    db.execute("UPDATE domains SET answer_mode = ? WHERE id = ?", [mode, domain.id])


def set_decline_below(db: Database, domain: Domain, similarity: float | None) -> None:
    """Override `[answers] decline_below` for the domain; None removes the override. Raises Invalid
    unless it is between 0 and 1."""
    if similarity is not None and not 0 <= similarity <= 1:
        raise Invalid("The similarity must be between 0 and 1.")
    db.execute("UPDATE domains SET decline_below = ? WHERE id = ?", [similarity, domain.id])


def set_people(db: Database, domain: Domain, people: str) -> None:
    """Set who answers what the bot cannot: a Slack channel (`T1/C1`) or a person (`slack:T1/U1`);
    '' for nobody. Raises Invalid for anything else."""
    if people and not PEOPLE.fullmatch(people):
        raise Invalid(
            f"{people!r} names neither a Slack channel (T1/C1) nor a person (slack:T1/U1)."
        )
    db.execute("UPDATE domains SET people = ? WHERE id = ?", [people, domain.id])


def _suggested(questions: tuple[str, ...]) -> str:
    """The questions in their stored form. Raises Invalid if one is empty."""
    stripped = tuple(question.strip() for question in questions)
    if not all(stripped):
        raise Invalid("A suggested question must not be empty.")
    return orjson.dumps(stripped).decode()


def bind_channel(db: Database, domain: Domain, team: str, channel: str) -> None:
    """Make `domain` answer in a Slack channel."""
    db.execute(
        "INSERT INTO domain_channels (team, channel, domain_id) VALUES (?, ?, ?) "
        "ON CONFLICT (team, channel) DO UPDATE SET domain_id = excluded.domain_id",
        [team, channel, domain.id],
    )


def unbind_channel(db: Database, team: str, channel: str) -> bool:
    """The channel falls back to the default domain; False when it was not bound."""
    sql = "DELETE FROM domain_channels WHERE team = ? AND channel = ?"
    return changed(db, sql, [team, channel]) > 0


def of_channel(db: Database, team: str, channel: str) -> Domain:
    """The domain that answers in a Slack channel: the bound one, else the default."""
    found = row(
        db,
        "SELECT domain_id FROM domain_channels WHERE team = ? AND channel = ?",
        [team, channel],
    )
    return default(db) if found is None else by_id(db, found["domain_id"])


def choose(db: Database, domain: Domain, person: str) -> None:
    """Make `domain` answer a person in channels that are bound to no domain."""
    db.execute(
        "INSERT INTO domain_choices (person, domain_id) VALUES (?, ?) "
        "ON CONFLICT (person) DO UPDATE SET domain_id = excluded.domain_id",
        [person, domain.id],
    )


def unchoose(db: Database, person: str) -> bool:
    """The person falls back to the default domain; False when nothing was chosen."""
    return changed(db, "DELETE FROM domain_choices WHERE person = ?", [person]) > 0


def answering(db: Database, person: str, team: str = "", channel: str = "") -> Domain:
    """The domain that answers a person in a Slack channel: the one bound to the channel, else the
    person's choice, else the default. Raises NotFound when there is none."""
    found = row(
        db,
        "SELECT domain_id FROM domain_channels WHERE team = ? AND channel = ?",
        [team, channel],
    ) or row(db, "SELECT domain_id FROM domain_choices WHERE person = ?", [person])
    return default(db) if found is None else by_id(db, found["domain_id"])


def _domain(found: Row) -> Domain:
    return Domain(
        **{
            **found,
            "suggested_prompts": tuple(orjson.loads(found["suggested_prompts"])),
            "is_default": bool(found["is_default"]),
        }
    )
