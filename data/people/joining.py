"""Joining identities: a web sign-in of a Slack member is the same person.

From then on, `identities.person_of` gives the person for the joined identity. What was stored under
it before becomes the person's: words, feedback, figures, and a quarantine.
"""

from sqlite_utils import Database

from data.people import figures
from data.people.consent import check
from data.people.identities import is_verified, kind_of, source_of
from data.store import audit
from data.store.clock import now_us
from data.store.db import rows, value
from data.store.errors import Conflict, Invalid

JOINABLE = ("signed_in", "web_session")
WORDS = ("messages", "conversations")
SIGN_INS = ("sign_in_links", "console_sessions")
CHOICES = ("opt_outs", "domain_choices", "marks", "pair_words")  # one row of a person and a thing


def join(db: Database, identity: str, person: str, actor: str) -> None:
    """Make a sign-in or a browser session another id of a verified person.

    Raises Invalid for another kind of identity or an unverified person, and Conflict if it belongs
    to somebody else."""
    identity, person = check(identity), check(person)
    if kind_of(identity) not in JOINABLE or identity == person:
        raise Invalid(f"{identity} cannot be joined: it is no sign-in and no browser session.")
    if not is_verified(db, person):
        raise Invalid(f"{person} is not verified, so nothing can be joined to it.")
    found = "SELECT person FROM joined_identities WHERE identity = ?"
    if (owner := value(db, found, [identity])) is not None:
        if owner != person:
            raise Conflict(f"{identity} belongs to another person.")
        return
    if value(db, found, [person]) is not None or value(
        db, "SELECT 1 FROM joined_identities WHERE person = ?", [identity]
    ):
        raise Conflict("Identities are joined to a person, and not in a chain.")
    db.execute(
        "INSERT INTO joined_identities (identity, person, joined_by, joined_at) "
        "VALUES (?, ?, ?, ?)",
        [identity, person, actor, now_us()],
    )
    for domain in rows(db, "SELECT id FROM domains"):
        figures.recognise(db, domain["id"], person)
        figures.recognise(db, domain["id"], identity)
        figures.rename(db, domain["id"], identity, person)
    db.execute(  # whoever was seen first as a session is verified all the same
        "UPDATE assignments SET kind = ?, source = ? WHERE person = ?",
        [kind_of(person), source_of(db, person), person],
    )
    for table in (*WORDS, *SIGN_INS):
        db.execute(f"UPDATE {table} SET person = ? WHERE person = ?", [person, identity])
    for table in CHOICES:
        db.execute(f"UPDATE OR IGNORE {table} SET person = ? WHERE person = ?", [person, identity])
        db.execute(f"DELETE FROM {table} WHERE person = ?", [identity])
    for table in ("pairs", "imports", "judged_answers"):
        db.execute(f"UPDATE {table} SET author = ? WHERE author = ?", [person, identity])
    db.execute("UPDATE imports SET undone_by = ? WHERE undone_by = ?", [person, identity])
    audit.record(db, actor, "join identity", person, identity=identity)
