"""How many people will probably rate in a comparison, from the domain's ratings of late.

The interval of the ratings is narrow from a seventh of this number to half as many again. An
estimate that is far off costs some people and no error, so it needs no precision.
"""

from sqlite_utils import Database

from data.experiments.counted_people import People
from data.experiments.design import ExperimentDesign
from data.people.identities import is_verified
from data.store.clock import DAY_US, now_us
from data.store.db import rows

LATELY_DAYS = 28
FEWEST, MOST = 100, 20_000  # below, the two tunings would be the same; above, hardly anybody is
FEWEST_TO_KNOW = 20  # raters; with fewer, the default of the design applies


def expected_people(db: Database, domain_id: int, people: People = "verified") -> int:
    """The number of people who rated their own answers of the domain in the last four weeks, of
    those whose ratings a comparison of `people` counts: between 100 and 20,000. The default of the
    design if hardly anybody rated."""
    raters = rows(
        db,
        "SELECT DISTINCT f.person FROM feedback f JOIN replies r ON r.id = f.reply_id "
        "WHERE r.domain_id = ? AND r.person = f.person AND f.kind = 'thumb' AND f.live = 1 "
        "AND f.counts = 1 AND f.created_at >= ?",
        [domain_id, now_us() - LATELY_DAYS * DAY_US],
    )
    found = sum(1 for r in raters if people != "verified" or is_verified(db, r["person"]))
    if found < FEWEST_TO_KNOW:
        return ExperimentDesign.expected_people
    return min(max(found, FEWEST), MOST)
