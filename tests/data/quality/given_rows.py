"""Builders for rows under check."""

from data.pairs.pairs import Draft, Pair, Split, Status, fact_of, fingerprint
from data.quality import checker
from data.quality.findings import QualityFinding, Rows, Surroundings


def pair(
    number: int,
    prompt: str,
    response: str,
    *,
    status: Status = "approved",
    split: Split = "auto",
    fact: str = "",
    author: str = "",
) -> Pair:
    draft = Draft(prompt, response, split=split, fact=fact)
    return Pair(
        id=number, domain_id=1, prompt=prompt, response=response, system="", turns=(),
        fact=fact or fact_of(response), split=split, source="import", source_ref="",
        author=author, status=status, fingerprint=fingerprint(draft), created_at=0,
    )  # fmt: skip


def found(check: str, *pairs: Pair, around: Surroundings | None = None) -> QualityFinding:
    rows = Rows(pairs, around or Surroundings())
    (finding,) = checker.find("helpdesk", rows, only=[check]).findings
    return finding


def ids(check: str, *pairs: Pair, around: Surroundings | None = None) -> list[int]:
    return sorted(found(check, *pairs, around=around).pair_ids)
