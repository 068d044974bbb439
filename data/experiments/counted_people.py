"""Counted people: whose ratings and answers decide a comparison.

Anybody can invent identities that nobody answers for (`data/people/identities.py`), and each of
them would be one more person. So a comparison reads verified people. A deployment that has none,
such as an open web page, can opt in to others when it starts a comparison.

- `verified`: verified people only. The default.
- `anyone`: others as well. All identities of one source, which is a key or an address, together
  weigh at most 2% of their variant, or as much as one person who rated once. What everybody says is
  a suggestion: a policy acts on what verified people say alone.
- `everyone`: as in comparisons that ended before there were kinds of identity.

So whoever invents identities behind one address moves the mean of a variant by 2 points at most.
Many addresses move it as many people do. No weight that leaves the honest some keeps those out,
because an honest visitor looks the same as an invented one. That is why a person confirms.

The condition below is part of every query of `metric_sums.py`. It reads the marks of API keys as
they are now. People whose kind is unknown were erased before there were kinds; they count.
"""

from collections.abc import Mapping
from typing import Literal, get_args

import orjson
from sqlite_utils import Database

from data.store.db import rows

People = Literal["verified", "anyone", "everyone"]
PEOPLE: tuple[People, ...] = get_args(People)
MOST_PER_SOURCE = 0.02  # of the weight of a variant
ONE_PERSON = 1.0  # the weight of a person who rated once
CHOICES: tuple[People, ...] = ("verified", "anyone")  # for a new comparison
NOTES: dict[People, str] = {  # who decides, said when a comparison starts and with its results
    "anyone": "Everybody's ratings count here, but anybody can invent people, so a policy promotes "
    "and rolls back only by the ratings of verified people. What everybody's ratings say is a "
    "suggestion that an admin confirms."
}

VERIFIED = """(
    a.kind IN ('', 'slack', 'signed_in', 'operator')
    OR (a.kind = 'key' AND a.source IN (
        SELECT 'key:' || id FROM api_keys WHERE people = 'one'))
    OR (a.kind = 'key_user' AND a.source IN (
        SELECT 'key:' || id FROM api_keys WHERE people = 'vouched'))
)"""

# SQL for an assignment `a`; `:people` is the choice
COUNTED = f"(a.tester = 0 AND (:people <> 'verified' OR {VERIFIED}))"

SOURCE = "a.kind || ' ' || a.source"


def factor(weights: str) -> str:
    """SQL for the factor of an assignment `a`, by which a person's weight is multiplied. `weights`
    is the parameter with the factors, `:by_ratings` or `:by_answers`."""
    return f"coalesce(json_extract({weights}, '$.\"' || {SOURCE} || '\"'), 1.0)"


def factors(
    db: Database, people: People, experiment_id: int, variant_id: int, correlation: float
) -> dict[str, str]:
    """The parameters of `factor` for a variant, as JSON. `correlation` is that between two ratings
    of one person, which their weights assume."""
    if people != "anyone":
        return {"by_ratings": "{}", "by_answers": "{}"}
    bound = {"experiment": experiment_id, "variant": variant_id, "rho": correlation}
    return {
        "by_ratings": _capped_json(db, RATED, bound),
        "by_answers": _capped_json(db, ANSWERED, bound),
    }


def _capped_json(db: Database, counted: str, bound: Mapping[str, float]) -> str:
    found = rows(db, SOURCE_WEIGHTS.format(counted=counted), bound)
    verified = sum(r["weight"] for r in found if r["verified"])
    others = {r["source"]: r["weight"] for r in found if not r["verified"]}
    return orjson.dumps(capped(others, verified)).decode()


# How often each person rated, or was answered
RATED = "SELECT person, up + down AS n FROM ratings WHERE variant_id = :variant AND up + down > 0"
ANSWERED = """SELECT person, count(*) AS n FROM replies
    WHERE variant_id = :variant AND status <> 'streaming' GROUP BY person"""
SOURCE_WEIGHTS = f"""
WITH counted AS ({{counted}})
SELECT {SOURCE} AS source, {VERIFIED} AS verified,
       total(n / (1 + :rho * (n - 1))) AS weight
FROM counted CROSS JOIN assignments a ON a.experiment_id = :experiment AND a.person = counted.person
    AND a.variant_id = :variant AND a.tester = 0
GROUP BY 1, 2
"""


def capped(weights: Mapping[str, float], verified: float = 0.0) -> dict[str, float]:
    """The factor of each source that weighs too much: afterwards it has `MOST_PER_SOURCE` of all
    weight, or `ONE_PERSON` if that is more. `weights` are the weights by source, and `verified` is
    the weight of verified people, which has no limit."""
    heavy = {source: weight for source, weight in weights.items() if weight > ONE_PERSON}
    light = verified + sum(weights.values()) - sum(heavy.values())
    most = float("inf")
    while True:  # less weight in all lowers the limit, until it fits
        total = light + sum(min(weight, most) for weight in heavy.values())
        limit = max(ONE_PERSON, MOST_PER_SOURCE * total)
        if most - limit < 1e-9 * limit:
            break
        most = limit
    return {source: limit / weight for source, weight in heavy.items() if weight > limit}
