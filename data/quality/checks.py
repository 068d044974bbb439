"""The checks, one entry each: a name, what it finds, and what `--fix` does about it.

A new check is a new entry of `CHECKS`. Reports, fixes, the command line and HTTP read the table.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from data.quality import answer_faults, balance, duplicates, languages, secrets, text_faults
from data.quality.contact_data import (
    FINDERS,
    Kind,
    Span,
    key,
    phones_by_library,
)
from data.quality.findings import Find, FixKind, Found, Rows, not_installed

FIX_SAYS: dict[FixKind, str] = {
    "mask": "replaces the words by their kind, such as [e-mail address]; the old pair is kept in "
    "quarantine",
    "quarantine": "puts the pairs in quarantine, so that no run learns them",
    "merge": "keeps the newest pair of each group and puts the others in quarantine",
}
BY_NAME = "; only with --only {name}, because these pairs can be right"
REPORT_ONLY = "nothing: a person has to decide"


@dataclass(frozen=True)
class Check:
    name: str  # as `--only` takes it
    title: str
    find: Find
    fix: FixKind | None = None
    by_name: bool = False  # fixed only when it is named
    unit: str = "pairs"

    @property
    def fix_says(self) -> str:
        if self.fix is None:
            return REPORT_ONLY
        return FIX_SAYS[self.fix] + (BY_NAME.format(name=self.name) if self.by_name else "")


SPANS: dict[str, Callable[[str], list[Span]]] = {
    "secrets": secrets.find,
    "cards": FINDERS["card number"],
    "ibans": FINDERS["IBAN"],
    "emails": FINDERS["e-mail address"],
    "phones": FINDERS["phone number"],
}


def _private(name: str, kind: Kind) -> Find:
    """Pairs that hold such words. They are not quoted, because a report goes to many people."""
    finder = SPANS[name]

    def find(rows: Rows) -> Iterator[Found]:
        for pair, text in zip(rows.pairs, rows.texts, strict=True):
            words = [text[span.start : span.end] for span in finder(text)]
            spans = [one for one in words if key(one) not in rows.around.allowed]
            if spans:
                inside = "answer" if finder(pair.response) else "question or the turns before it"
                count = f"{len(spans)} times " if len(spans) > 1 else ""
                yield Found(pair.id, f"{kind} {count}in the {inside}")

    return find


CHECKS = (
    Check("exact-duplicates", "Exact duplicates", duplicates.exact, "merge"),
    Check("near-duplicates", "Near duplicates", duplicates.near, "merge"),
    Check(
        "conflicting-answers", "Older answers to the same question", duplicates.conflicts, "merge",
        by_name=True,
    ),
    Check("contamination", "Evaluated questions that are trained on", duplicates.contamination,
          "quarantine"),
    Check("too-long", "Too long for the base model", balance.too_long, "quarantine"),
    Check("control-tokens", "Control tokens of the base model", text_faults.control_tokens,
          "quarantine"),
    Check("refused-by-template", "Refused by the chat template", balance.refused_by_template,
          "quarantine"),
    Check("placeholders", "Placeholders", text_faults.placeholders, "quarantine"),
    Check("boilerplate", "Stock phrases", answer_faults.boilerplate),
    Check("truncated-answers", "Answers that were cut off", answer_faults.truncated, "quarantine",
          by_name=True),
    Check("looping-answers", "Answers that repeat themselves", answer_faults.looping, "quarantine"),
    Check("wrong-language", "Another language", languages.wrong_language, "quarantine",
          by_name=True),
    Check("mojibake", "Broken encoding", text_faults.mojibake),
    Check("html", "HTML", text_faults.html, "quarantine", by_name=True),
    Check("secrets", "Keys, tokens and passwords", _private("secrets", "secret"), "mask"),
    Check("cards", "Card numbers", _private("cards", "card number"), "mask"),
    Check("ibans", "IBANs", _private("ibans", "IBAN"), "mask", by_name=True),
    Check("emails", "E-mail addresses", _private("emails", "e-mail address"), "mask", by_name=True),
    Check("phones", "Phone numbers", _private("phones", "phone number"), "mask", by_name=True),
    Check("toxic", "Insults and obscene words", text_faults.toxic, "quarantine", by_name=True),
    Check("thin-facts", "Facts with one phrasing", balance.thin_facts, unit="facts"),
    Check("imbalance", "Topics and authors with most of the pairs", balance.imbalance,
          unit="groups"),
    Check("few-tokens", "Answers of a single token", balance.few_tokens),
)  # fmt: skip
NAMES = tuple(check.name for check in CHECKS)


def by_name(name: str) -> Check:
    """Raises KeyError."""
    return {check.name: check for check in CHECKS}[name]


def partly(check: Check) -> str:
    """What a check that runs could not look at here; '' if it looked at everything."""
    if check.name == "phones" and not phones_by_library():
        return f"national numbers: {not_installed('phonenumbers')}"
    return ""
