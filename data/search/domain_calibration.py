"""From which confidence on the questions of one domain are answered, measured on its own questions.

Three kinds of questions are searched: the golden ones; the same with the pairs of their fact left
out, so that no pair answers them although they are on topic; and off-topic ones. The threshold is
the one that gives most right answers when a wrong answer costs as much as `WRONG_COSTS` right ones
bring. The last two kinds are made up. There are more of them than people ask, and a domain that
tells several similar things seems to answer what was left out. So together they weigh as much as
`MADE_UP_SHARE` of the golden ones, and do not raise the threshold so far that more than `NEEDLESS`
of the right answers are declined.

A domain with fewer golden questions than `ENOUGH` gets a threshold between the shipped one and its
own, in proportion to their number. The interval comes from drawing the questions anew (bootstrap).

Each new adapter is calibrated in the same way when it is evaluated. If it reads references, a
golden question also counts as right if the adapter answered it right although the search found
another pair first. Its mistakes where the search is right count for nothing here: to decline what a
pair answers would cure none of them. They count in the gate. The result stays with the adapter:
promoting or rolling back changes the threshold, too. Of the live adapter's calibration and the
domain's, the newer one counts; one that was measured before an adapter that reads references went
live does not. All variants of a comparison decline by the live adapter's, so that
they decline the same questions.
"""

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sqlite_utils import Database

from data.domains import Domain
from data.pairs import golden
from data.pairs.pairs import normalise
from data.search import confidence, layout
from data.search.encoder import EncoderFailed
from data.search.search import PairSearch
from data.store.clock import now_us
from data.store.db import Store, row, rows, value

ENOUGH = 100  # golden questions that outweigh the shipped threshold
OFF_TOPIC = Path(__file__).parents[1] / "examples" / "reading" / "off_topic.jsonl"
FEWEST = 10  # golden questions below which the shipped threshold stays
WRONG_COSTS = 2.0
MADE_UP_SHARE = 0.25  # what the questions that no pair answers weigh; that of the golden ones is 1
NEEDLESS = 0.03  # share of the right answers that is declined for their sake, at most
MARGIN = 0.1  # of the distance to the next question that a threshold keeps from it
DRAWS = 200
INTERVAL = 0.9  # of the draws lie within it


@dataclass(frozen=True)
class Searched:
    """A question, and whether the pair that the search found first answers it."""

    confidence: float
    right: bool
    made_up: bool = False  # people did not ask it, and no pair answers it


@dataclass(frozen=True)
class DomainCalibration:
    """The least confidence of an answer in a domain."""

    encoder: str  # digest of the encoder that it was measured with
    answer_from: float
    low: float  # of the interval
    high: float
    questions: int  # golden ones that it was measured on
    revision: int | None = None  # of the domain's pairs that it was measured on; None: not known

    def plain(self) -> dict[str, Any]:
        """For the scores of an adapter, with the time."""
        return asdict(self) | {"at": now_us()}


@dataclass(frozen=True)
class Thresholds:
    """The least confidence of an answer, and that below which an answer is marked as uncertain."""

    answer_from: float
    sure_from: float


@dataclass(frozen=True)
class Outcomes:
    """What a threshold makes of the questions, as counts."""

    right: int
    declined: int
    wrong: int


@dataclass(frozen=True)
class CalibrationReport:
    """A new calibration, and what it and the shipped threshold make of the same questions."""

    calibration: DomainCalibration
    shipped_from: float
    golden: tuple[Outcomes, Outcomes]  # with the shipped threshold, with the new one
    unanswerable: tuple[Outcomes, Outcomes]


def measure(
    db: Database,
    domain: Domain,
    search: PairSearch,
    answered_right: Mapping[int, bool] | None = None,
) -> CalibrationReport | None:
    """Search the domain's golden questions and the off-topic ones. An answer is the first pair's
    response, or an adapter's: `answered_right` says for the ids of the golden questions that it was
    asked whether it answered them right. None: the search has no calibrated confidence, or the
    domain has fewer than `FEWEST` golden questions. Blocks for some 10 ms a question, and until all
    pairs are encoded. Raises EncoderFailed."""
    asked = golden.list_golden(db, domain)
    if answered_right is not None:
        asked = [question for question in asked if question.id in answered_right]
    if len(asked) < FEWEST:
        return None
    encoder = search.find(domain, asked[0].prompt, limit=1).encoder
    shipped = confidence.shipped(encoder)
    if shipped is None:
        return None
    search.complete(domain)
    measured = revision(db, domain)
    answered: list[Searched] = []
    unanswerable: list[Searched] = []
    for question in asked:
        found = search.find(domain, question.prompt, limit=1)
        if found.confidence is None:
            return None
        best = found.references[0]
        right = best.fact == question.fact or (
            normalise(best.response) == normalise(question.response)
        )
        if answered_right is not None:
            right = right or answered_right[question.id]
        answered.append(Searched(found.confidence, right))
        of_fact = _pairs_of(db, domain, question.fact, question.response)
        without = search.find(domain, question.prompt, limit=1, without=of_fact)
        unanswerable.append(Searched(without.confidence or 0.0, False, made_up=True))
    outside = off_topic()
    step = max(1, len(outside) // len(asked))
    for text in outside[::step][: len(asked)]:
        found = search.find(domain, text, limit=1)
        unanswerable.append(Searched(found.confidence or 0.0, False, made_up=True))
    fitted = fit([*answered, *unanswerable], len(asked), shipped.answer_from)
    made = DomainCalibration(encoder, *fitted, questions=len(asked), revision=measured)
    thresholds = (shipped.answer_from, made.answer_from)
    return CalibrationReport(
        made,
        shipped.answer_from,
        golden=(outcomes(answered, thresholds[0]), outcomes(answered, thresholds[1])),
        unanswerable=(outcomes(unanswerable, thresholds[0]), outcomes(unanswerable, thresholds[1])),
    )


def refit(store: Store, domain: Domain, search: PairSearch) -> DomainCalibration | None:
    """Measure anew and use the result from the next question on. None: nothing changed, because
    the domain cannot be measured."""
    found = measure(store.db, domain, search)
    if found is None:
        return None
    with store.write() as db:
        save(db, domain, found.calibration)
    return found.calibration


def revision(db: Database, domain: Domain) -> int:
    """Grows whenever a pair that the search finds comes, changes or goes."""
    sql = "SELECT coalesce(max(revision), 0) FROM search_changes WHERE domain_id = ?"
    return int(value(db, sql, [domain.id]))


def off_topic() -> list[str]:
    """Shipped questions in English that belong to no organisation."""
    found = map(json.loads, OFF_TOPIC.read_text(encoding="utf-8").splitlines())
    return [q["question"] for q in found if (q["kind"], q["language"]) == ("off_topic", "en")]


def fit(
    searched: Sequence[Searched], questions: int, shipped_from: float
) -> tuple[float, float, float]:
    """The threshold and the bounds of its interval, each between the shipped threshold and the
    best one for these questions."""
    share = min(1.0, questions / ENOUGH)

    def shrunk(some: Sequence[Searched]) -> float:
        return shipped_from + share * (best_threshold(some, shipped_from) - shipped_from)

    rng = random.Random(0)  # noqa: S311 # the same interval each time
    drawn = sorted(shrunk(rng.choices(searched, k=len(searched))) for _ in range(DRAWS))
    left_out = round(DRAWS * (1 - INTERVAL) / 2)
    return shrunk(searched), drawn[left_out], drawn[-1 - left_out]


def best_threshold(searched: Sequence[Searched], near: float) -> float:
    """The threshold with the most right answers, less what the wrong ones cost; of several equally
    good ones, the nearest to `near`. Above `near`, made-up questions raise it only as far as they
    may."""
    asked = [s for s in searched if not s.made_up]
    if len(asked) == len(searched):
        return _best(searched, near, 0.0, 1.0)
    made_up_weighs = MADE_UP_SHARE * len(asked) / (len(searched) - len(asked))
    right = sorted(s.confidence for s in asked if s.right)
    allowed = right[int(NEEDLESS * len(right))] if right else 1.0
    most = max(allowed, near, _best(asked, near, 0.0, 1.0))
    return _best(searched, near, made_up_weighs, most)


def _best(searched: Sequence[Searched], near: float, made_up_weighs: float, most: float) -> float:
    """The best threshold of at most `most`."""
    ordered = sorted(searched, key=lambda s: -s.confidence)
    values = [s.confidence for s in ordered]
    # A threshold between two neighbours answers everything before it.
    gained, best, chosen = 0.0, float("-inf"), min(near, most)
    for n in range(len(ordered) + 1):
        high = min(values[n - 1] if n else 1.0, most)
        low = values[n] if n < len(values) else 0.0
        if high > low:
            threshold = min(max(near, low + (high - low) * MARGIN), high)
            closer = abs(threshold - near) < abs(chosen - near)
            if gained > best or (gained == best and closer):
                best, chosen = gained, threshold
        if n < len(ordered):
            weight = made_up_weighs if ordered[n].made_up else 1.0
            gained += weight * (1.0 if ordered[n].right else -WRONG_COSTS)
    return chosen


def outcomes(searched: Sequence[Searched], answer_from: float) -> Outcomes:
    """What a threshold makes of the questions."""
    given = [s.right for s in searched if s.confidence >= answer_from]
    return Outcomes(sum(given), len(searched) - len(given), len(given) - sum(given))


def save(db: Database, domain: Domain, made: DomainCalibration) -> None:
    """Use it from the next question on."""
    db.execute(
        "INSERT OR REPLACE INTO domain_calibrations "
        "(domain_id, encoder, answer_from, low, high, questions, revision, created_at) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [
            domain.id,
            made.encoder,
            made.answer_from,
            made.low,
            made.high,
            made.questions,
            made.revision,
            now_us(),
        ],
    )


def remove(db: Database, domain: Domain) -> None:
    """Use the shipped threshold again."""
    db.execute("DELETE FROM domain_calibrations WHERE domain_id = ?", [domain.id])


def newest(db: Database, domain: Domain) -> DomainCalibration | None:
    """The domain's own calibration, whichever encoder it was measured with."""
    found = row(
        db,
        "SELECT encoder, answer_from, low, high, questions, revision FROM domain_calibrations "
        "WHERE domain_id = ?",
        [domain.id],
    )
    return None if found is None else DomainCalibration(**found)


def of_adapter(db: Database, domain: Domain, version: int | None = None) -> dict[str, Any] | None:
    """The calibration of a version, or else of the live adapter, as `plain` wrote it; None if it
    was not calibrated."""
    which = "state = 'live'" if version is None else "version = ?"
    found = row(
        db,
        "SELECT json_extract(scores, '$.calibration') AS made FROM adapters "
        f"WHERE domain_id = ? AND {which}",
        [domain.id, *([] if version is None else [version])],
    )
    return json.loads(found["made"]) if found is not None and found["made"] else None


def in_use(db: Database, domain: Domain, version: int | None = None) -> DomainCalibration | None:
    """The newer one of the domain's calibration and the live adapter's; the one of a `version`
    that answers alone comes first. None: the shipped threshold is used."""
    found = dated(db, domain, version)
    return None if found is None else found[0]


def dated(
    db: Database, domain: Domain, version: int | None = None
) -> tuple[DomainCalibration, int] | None:
    """The same with its time. Of an adapter that reads references, the domain's own only counts if
    it was measured while that adapter was live: it knows nothing of its answers."""
    of_version = of_adapter(db, domain, version)
    own = newest(db, domain)
    sql = "SELECT created_at FROM domain_calibrations WHERE domain_id = ?"
    own_at = int(value(db, sql, [domain.id])) if own is not None else 0
    if of_version is not None:
        measured_at = int(of_version.pop("at"))
        since = max(measured_at, reads_references_since(db, domain) or 0)
        if version is not None or own_at <= since:
            return DomainCalibration(**of_version), measured_at
    return None if own is None else (own, own_at)


def reads_references_since(db: Database, domain: Domain) -> int | None:
    """When the live adapter went live, if it reads references."""
    sql = "SELECT recipe, live_at FROM adapters WHERE domain_id = ? AND state = 'live'"
    found = row(db, sql, [domain.id])
    if found is None or not layout.references_of(json.loads(found["recipe"])):
        return None
    return int(found["live_at"])


def why_not_used(db: Database, domain: Domain, search: PairSearch) -> str:
    """A sentence if the domain's threshold is not used, because it was measured with another
    encoder; '' if it is used, there is none, or the encoder fails. May load the encoder."""
    own = in_use(db, domain)
    if own is None:
        return ""
    try:
        encoder = search.encoder()
    except EncoderFailed:
        return ""
    digest = "" if encoder is None else encoder.digest
    if own.encoder == digest:
        return ""
    measured = f"The threshold of {domain.name} was measured with another encoder"
    if confidence.shipped(digest) is None:
        return (
            f"{measured} and is not used. Without it, the similarity decides what is answered "
            "(`[answers] decline_below`)."
        )
    return (
        f"{measured}, so the shipped one is used. Run `understudy domains calibrate {domain.name}` "
        "to measure it anew."
    )


def thresholds(
    db: Database, domain: Domain, encoder: str, version: int | None = None
) -> Thresholds | None:
    """Those in use, or else the shipped ones. `version`: of the adapter, if a certain one answers.
    None: this encoder's confidence is not known."""
    shipped = confidence.shipped(encoder)
    if shipped is None:
        return None
    own = in_use(db, domain, version)
    answer_from = own.answer_from if own and own.encoder == encoder else shipped.answer_from
    return Thresholds(answer_from, max(answer_from, shipped.sure_from))


def _pairs_of(db: Database, domain: Domain, fact: str, response: str) -> list[int]:
    """The pairs that answer like the fact."""
    found = rows(
        db,
        "SELECT id FROM searchable_pairs WHERE domain_id = ? AND (fact = ? OR response = ?)",
        [domain.id, fact, response],
    )
    return [r["id"] for r in found]
