"""The ratings that do not count in a comparison, and why.

Every rating that the comparison leaves out has one reason here, the first of `REASONS` that
applies, so that people see what became of it.
"""

from dataclasses import dataclass

from sqlite_utils import Database

from data.experiments.counted_people import VERIFIED
from data.experiments.experiments import Experiment
from data.experiments.metric_sums import people_of
from data.feedback.rating_totals import DAILY_CAP
from data.store.db import rows

REASONS = {
    "bystander": "by people who had not asked the question",
    "tester": "by testers, who chose their variant",
    "another_variant": "of an answer by another variant than the person's own",
    "over_cap": f"beyond the first {DAILY_CAP} of a person on one day",
    "interrupted": "of answers that were interrupted",
    "side_by_side": "of answers that were shown side by side",
    "quarantined": "by quarantined raters",
    "unverified": "by people who are not verified",
}


@dataclass(frozen=True)
class UncountedRatings:
    """Current thumbs that do not count, for one reason."""

    reason: str  # a key of REASONS
    why: str  # as text
    ratings: int
    people: int
    up: int
    down: int

    @property
    def sentence(self) -> str:
        noun = "rating" if self.ratings == 1 else "ratings"
        return f"{self.ratings:,} {noun} {self.why} ({self.up:,} up, {self.down:,} down)"


def uncounted(db: Database, experiment: Experiment) -> list[UncountedRatings]:
    """The ratings of a comparison that do not count, by reason, most first."""
    bound = {"experiment": experiment.id, "people": people_of(experiment)}
    return [UncountedRatings(why=REASONS[r["reason"]], **r) for r in rows(db, UNCOUNTED, bound)]


UNCOUNTED = f"""
WITH thumbs AS (
    SELECT f.person, f.value, CASE
        WHEN f.person <> r.person THEN 'bystander'
        WHEN a.tester = 1 THEN 'tester'
        WHEN a.variant_id <> r.variant_id THEN 'another_variant'
        WHEN f.over_cap = 1 THEN 'over_cap'
        WHEN r.status = 'partial' THEN 'interrupted'
        WHEN EXISTS (SELECT 1 FROM pairings p
                     WHERE p.first_reply = r.id OR p.second_reply = r.id) THEN 'side_by_side'
        WHEN f.counts = 0 THEN 'quarantined'
        WHEN :people = 'verified' AND NOT {VERIFIED} THEN 'unverified'
        END AS reason
    FROM variants v JOIN replies r ON r.variant_id = v.id
    JOIN feedback f ON f.reply_id = r.id AND f.kind = 'thumb' AND f.live = 1
    LEFT JOIN assignments a ON a.experiment_id = :experiment AND a.person = r.person
    WHERE v.experiment_id = :experiment
)
SELECT reason, count(*) AS ratings, count(DISTINCT person) AS people,
       sum(value = 1) AS up, sum(value = 0) AS down
FROM thumbs WHERE reason IS NOT NULL GROUP BY reason ORDER BY ratings DESC, reason
"""


def heading(found: list[UncountedRatings]) -> str:
    """All of them as one sentence; "" if every rating counts."""
    if not found:
        return ""
    return "Ratings that do not count: " + "; ".join(u.sentence for u in found) + "."


def advice(experiment: Experiment, found: list[UncountedRatings]) -> str:
    """What an admin can do if people are left out because nobody answers for them; "" if none
    are."""
    if not any(u.reason == "unverified" for u in found):
        return ""
    return (
        "If the owner of an API key signs its people in, `understudy keys mark KEY vouched` makes "
        "their ratings count at once. A comparison that is started with `understudy ab start "
        f"{experiment.domain} ... --people anyone` counts everybody, within limits, and suggests "
        "what to do; a policy acts only on the ratings of verified people."
    )
