"""How many people will probably rate in a comparison, from the domain's ratings of late.

The interval of the ratings is narrow from a seventh of this number to half as many again. An
estimate that is far off costs some people and no error, so it needs no precision.
"""

from dataclasses import dataclass

from sqlite_utils import Database

from data.experiments.counted_people import People
from data.experiments.design import ExperimentDesign
from data.people.identities import is_verified
from data.store.clock import DAY_US, now_us
from data.store.db import rows

LATELY_DAYS = 28
FEWEST, MOST = 100, 20_000  # below, the two tunings would be the same; above, hardly anybody is
FEWEST_TO_KNOW = 20  # raters; with fewer, the default of the design applies


@dataclass(frozen=True)
class RecentRater:
    """Somebody who rated their own answers lately."""

    person: str
    last_at: int  # microseconds since the epoch
    mean: float  # of their ratings, 0..1


def recent_raters(db: Database, domain_id: int, people: People = "verified") -> list[RecentRater]:
    """The people who rated their own answers of the domain in the last four weeks, of those whose
    ratings a comparison of `people` counts."""
    found = rows(
        db,
        "SELECT f.person, max(f.created_at) AS last_at, avg(f.value) AS mean "
        "FROM feedback f JOIN replies r ON r.id = f.reply_id "
        "WHERE r.domain_id = ? AND r.person = f.person AND f.kind = 'thumb' AND f.live = 1 "
        "AND f.counts = 1 AND f.created_at >= ? GROUP BY f.person",
        [domain_id, now_us() - LATELY_DAYS * DAY_US],
    )
    return [RecentRater(**r) for r in found if people != "verified" or is_verified(db, r["person"])]


def expected_people(db: Database, domain_id: int, people: People = "verified") -> int:
    """The number of `recent_raters`: between 100 and 20,000. The default of the design if hardly
    anybody rated."""
    return expected_of(recent_raters(db, domain_id, people))


def expected_of(raters: list[RecentRater]) -> int:
    """The same for raters that are known already."""
    found = len(raters)
    if found < FEWEST_TO_KNOW:
        return ExperimentDesign.expected_people
    return min(max(found, FEWEST), MOST)
