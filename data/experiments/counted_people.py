"""Counted people: whose ratings and answers decide a comparison.

Anybody can invent identities that nobody answers for (`data/people/identities.py`), and each of
them would be one more person. So a comparison reads verified people. A deployment that has none,
such as an open web page, can opt in to others when it starts a comparison.

- `verified`: verified people only. The default.
- `anyone`: others as well.
- `everyone`: as in comparisons that ended before there were kinds of identity.

The condition below is part of every query of `metric_sums.py`. It reads the marks of API keys as
they are now. People whose kind is unknown were erased before there were kinds; they count.
"""

from typing import Literal, get_args

People = Literal["verified", "anyone", "everyone"]
PEOPLE: tuple[People, ...] = get_args(People)
CHOICES: tuple[People, ...] = ("verified", "anyone")  # for a new comparison

VERIFIED = """(
    a.kind IN ('', 'slack', 'signed_in', 'operator')
    OR (a.kind = 'key' AND a.source IN (
        SELECT 'key:' || id FROM api_keys WHERE people = 'one'))
    OR (a.kind = 'key_user' AND a.source IN (
        SELECT 'key:' || id FROM api_keys WHERE people = 'vouched'))
)"""

# SQL for an assignment `a`; `:people` is the choice
COUNTED = f"(a.tester = 0 AND (:people <> 'verified' OR {VERIFIED}))"
