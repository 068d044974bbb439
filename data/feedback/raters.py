"""Raters, and the quarantine of those whose ratings do not depend on the answers.

The ratings of a quarantined person, earlier and later ones, are stored and shown, but they do not
count in comparisons until an admin releases the person. Released people are not tested again. The
tests are in `rater_anomalies.py`.
"""

from dataclasses import dataclass
from typing import Literal

from sqlite_utils import Database

from data.conversations.conversations import reply
from data.domains import Domain
from data.experiments.experiments import Experiment
from data.feedback import rater_anomalies, rating_totals
from data.feedback.rater_anomalies import OTHERS, Peers, Rule, Tally
from data.people.identities import person_named
from data.store import audit
from data.store.clock import now_us
from data.store.db import Row, row, rows, value
from data.store.errors import Conflict, NotFound

State = Literal["counted", "quarantined", "released"]
AnswerSource = tuple[int, int]  # adapter and variant; 0: the bare base, in no comparison


@dataclass(frozen=True)
class Rater:
    """A person on the page of raters."""

    person: str
    up: int  # live thumbs within the daily caps
    down: int
    over_cap: int  # current ratings beyond a daily cap
    state: State
    rule: Rule | None
    why: str  # the reason as text; "" for a person whose ratings count
    changed_by: str
    changed_at: int | None


# Tests


def check_rater(db: Database, domain_id: int, person: str, source: AnswerSource) -> None:
    """Test a person who has just rated an answer of this source, if a test is due."""
    tally = _own(db, domain_id, person, source)
    level = rater_anomalies.level_at(tally.total)
    if level is None or _state(db, domain_id, person) is not None:
        return
    peers = _peers(db, domain_id, person, source)
    found = rater_anomalies.detect_anomaly(tally, peers, level) if peers else None
    if found is not None:
        _quarantine(db, domain_id, person, *found, by="")


def check_position_bias(db: Database, domain_id: int, person: str) -> None:
    """Test whether a person who chose between two answers always chooses the same position."""
    sql = (
        "SELECT sum(f.value = 1) AS up, sum(f.value = 0) AS down FROM feedback f "
        "JOIN replies r ON r.id = f.reply_id WHERE f.person = ? AND f.kind = 'pairwise' "
        "AND f.live = 1 AND f.over_cap = 0 AND f.value <> 0.5 AND r.domain_id = ?"
    )
    chosen = rows(db, sql, [person, domain_id])[0]
    tally = Tally(chosen["up"] or 0, chosen["down"] or 0)
    why = rater_anomalies.position_bias(tally)
    if why is not None and _state(db, domain_id, person) is None:
        _quarantine(db, domain_id, person, "same_side", why, by="")


def _own(db: Database, domain_id: int, person: str, source: AnswerSource) -> Tally:
    found = row(
        db,
        "SELECT up, down FROM tallies WHERE domain_id = ? AND adapter_id = ? AND variant_id = ? "
        "AND person = ?",
        [domain_id, *source, person],
    )
    return Tally(**found) if found else Tally(0, 0)


def _peers(db: Database, domain_id: int, person: str, source: AnswerSource) -> Peers | None:
    """The others who rated answers of this source; None if there are too few."""
    found = _others(db, domain_id, person)
    same, elsewhere = found.pop(source, []), [t for tallies in found.values() for t in tallies]
    if len(same) < OTHERS:
        return None
    correlation = rater_anomalies.smallest_correlation(same, elsewhere)
    return Peers(len(same), rater_anomalies.mean(same), correlation)


def _others(db: Database, domain_id: int, person: str) -> dict[AnswerSource, list[Tally]]:
    """The tallies of the other people who are not quarantined."""
    found: dict[AnswerSource, list[Tally]] = {}
    for r in rows(
        db,
        "SELECT t.adapter_id, t.variant_id, t.up, t.down FROM tallies t LEFT JOIN voters v "
        "ON v.domain_id = t.domain_id AND v.person = t.person AND v.state = 'quarantined' "
        "WHERE t.domain_id = ? AND t.person <> ? AND t.up + t.down > 0 AND v.person IS NULL",
        [domain_id, person],
    ):
        source = r["adapter_id"], r["variant_id"]
        found.setdefault(source, []).append(Tally(r["up"], r["down"]))
    return found


# Quarantine


def quarantined(db: Database, domain_id: int, person: str) -> bool:
    """Whether the person is quarantined, so that their ratings do not count."""
    return _state(db, domain_id, person) == "quarantined"


def quarantined_in(db: Database, experiment: Experiment) -> dict[str, int]:
    """Label of a variant -> the number of its people who are quarantined. Unequal numbers suggest
    that the variants themselves cause the quarantines."""
    found = rows(
        db,
        "SELECT v.label, count(*) AS n FROM assignments a JOIN variants v ON v.id = a.variant_id "
        "JOIN voters q ON q.person = a.person AND q.domain_id = ? AND q.state = 'quarantined' "
        "WHERE a.experiment_id = ? GROUP BY v.label",
        [experiment.domain_id, experiment.id],
    )
    return {v.label: 0 for v in experiment.variants} | {r["label"]: r["n"] for r in found}


def count_quarantined(db: Database, domain_id: int) -> int:
    """The number of people whose ratings do not count."""
    sql = "SELECT count(*) FROM voters WHERE domain_id = ? AND state = 'quarantined'"
    return int(value(db, sql, [domain_id]))


def quarantine(db: Database, domain: Domain, person: str, why: str, actor: str) -> None:
    """Quarantine a person by hand. Raises NotFound if they never rated an answer of the domain, and
    Conflict if they are already quarantined."""
    person = person_named(db, person)
    if not _has_rated(db, domain.id, person):
        raise NotFound(f"{person} has not rated an answer of {domain.name}.")
    if quarantined(db, domain.id, person):
        raise Conflict(f"{person} is already quarantined.")
    _quarantine(db, domain.id, person, "by_hand", why, by=actor)


def release(db: Database, domain: Domain, person: str, actor: str) -> None:
    """Let a quarantined person's ratings count again; the person is not tested again.

    Raises Conflict if the person is not quarantined."""
    person = person_named(db, person)
    if not quarantined(db, domain.id, person):
        raise Conflict(f"{person} is not quarantined in {domain.name}.")
    db.execute(
        "UPDATE voters SET state = 'released', changed_by = ?, changed_at = ? "
        "WHERE domain_id = ? AND person = ?",
        [actor, now_us(), domain.id, person],
    )
    for rating in _ratings(db, domain.id, person, counting=False):
        answer = reply(db, rating["reply_id"])
        if not rating["over_cap"] and rating_totals.is_informative(db, answer, rating["kind"]):
            _count(db, rating, +1)
    audit.record(db, actor, "voter release", person, domain=domain.name)


def _quarantine(db: Database, domain_id: int, person: str, rule: Rule, why: str, by: str) -> None:
    db.execute(
        "INSERT INTO voters (domain_id, person, state, rule, why, changed_by, changed_at) "
        "VALUES (?, ?, 'quarantined', ?, ?, ?, ?) ON CONFLICT (domain_id, person) DO UPDATE SET "
        "state = excluded.state, rule = excluded.rule, why = excluded.why, "
        "changed_by = excluded.changed_by, changed_at = excluded.changed_at",
        [domain_id, person, rule, why, by, now_us()],
    )
    for rating in _ratings(db, domain_id, person, counting=True):
        _count(db, rating, -1)
    audit.record(db, by or "understudy", "voter quarantine", person, rule=rule, why=why)


def _count(db: Database, rating: Row, change: int) -> None:
    """Count a rating (`change` +1), or stop counting it (-1)."""
    db.execute("UPDATE feedback SET counts = ? WHERE id = ?", [int(change > 0), rating["id"]])
    if rating["kind"] == "thumb":
        answer = reply(db, rating["reply_id"])
        rating_totals.add_to_ratings(db, answer, rating["person"], rating["value"] == 1, change)


def _ratings(db: Database, domain_id: int, person: str, *, counting: bool) -> list[Row]:
    return rows(
        db,
        "SELECT f.id, f.reply_id, f.person, f.kind, f.value, f.over_cap FROM feedback f "
        "JOIN replies r ON r.id = f.reply_id "
        "WHERE f.person = ? AND f.live = 1 AND f.counts = ? AND r.domain_id = ?",
        [person, int(counting), domain_id],
    )


def _has_rated(db: Database, domain_id: int, person: str) -> bool:
    sql = (
        "SELECT 1 FROM feedback f JOIN replies r ON r.id = f.reply_id "
        "WHERE f.person = ? AND r.domain_id = ?"
    )
    return row(db, sql, [person, domain_id]) is not None


def _state(db: Database, domain_id: int, person: str) -> str | None:
    sql = "SELECT state FROM voters WHERE domain_id = ? AND person = ?"
    found: str | None = value(db, sql, [domain_id, person])
    return found


# The page


def page(db: Database, domain: Domain, everyone: bool = False, limit: int = 200) -> list[Rater]:
    """People who are or were quarantined, and people who exceeded a daily cap, the latest change
    first. With `everyone`, all other raters as well."""
    found = rows(db, PAGE, {"domain": domain.id, "everyone": int(everyone), "limit": limit})
    return [Rater(**r) for r in found]


PAGE = """
WITH thumbs AS (
    SELECT person, sum(up) AS up, sum(down) AS down FROM tallies WHERE domain_id = :domain
    GROUP BY person
), over AS (
    SELECT f.person, count(*) AS n FROM feedback f JOIN replies r ON r.id = f.reply_id
    WHERE f.over_cap = 1 AND f.live = 1 AND r.domain_id = :domain GROUP BY f.person
), known AS (
    SELECT person FROM voters WHERE domain_id = :domain UNION SELECT person FROM over
    UNION SELECT person FROM thumbs WHERE :everyone
)
SELECT k.person, coalesce(t.up, 0) AS up, coalesce(t.down, 0) AS down,
       coalesce(o.n, 0) AS over_cap, coalesce(v.state, 'counted') AS state, v.rule,
       coalesce(v.why, '') AS why, coalesce(v.changed_by, '') AS changed_by, v.changed_at
FROM known k LEFT JOIN thumbs t ON t.person = k.person LEFT JOIN over o ON o.person = k.person
LEFT JOIN voters v ON v.domain_id = :domain AND v.person = k.person
ORDER BY v.changed_at IS NULL, v.changed_at DESC, up + down DESC, k.person LIMIT :limit
"""
