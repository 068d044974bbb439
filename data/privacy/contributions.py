"""The status of a person's contributions: each correction or taught pair, up to the adapter that
learned it.

A contribution passes from correction or taught pair through review and dataset to an adapter.
`contributions_of` follows that chain for one person, newest first, so that people can see whether
their answers were used.
"""

from dataclasses import dataclass
from typing import Literal

from sqlite_utils import Database

from data.pairs import review_status
from data.pairs.review_status import Reason
from data.store.db import Row, row, rows

Stage = Literal[
    "not learned",  # given as feedback only
    "pending",
    "quarantined",
    "rejected",
    "taken back",  # by its author
    "replaced",  # by its author
    "approved",  # no adapter has it yet
    "learned",
    "measured",  # an adapter is measured on it
]
LEAVING: dict[Reason, Stage] = {
    "replaced": "replaced",
    "taken back": "taken back",
    "opted out": "taken back",
    "import undone": "taken back",
}


@dataclass(frozen=True)
class Contribution:
    question: str
    answer: str  # the better one
    source: str  # correction, teach, ...
    at: int  # microseconds since the epoch
    stage: Stage
    pair_id: int | None
    why: str  # the reviewer's reason for rejecting it, else ''
    adapter: str  # the adapter that learned it or is evaluated on it (helpdesk@4), else ''
    adapter_state: str  # as in `adapters.State`; else ''

    @property
    def sentence(self) -> str:
        """Its status, to be read after "your correction …"."""
        match self.stage:
            case "not learned":
                return "is kept as feedback only; the bot does not learn from it"
            case "pending":
                return "is waiting for review"
            case "quarantined":
                return "was quarantined for a closer look"
            case "rejected":
                return f"was rejected: {self.why}" if self.why else "was rejected by a reviewer"
            case "taken back":
                return "was withdrawn by you"
            case "replaced":
                return "was replaced by your newer one"
            case "approved":
                return "is approved; the next retrain will learn it"
            case "measured":
                return f"is used to evaluate {self.adapter}"
            case "learned":
                return f"was learned by {self.adapter}{NOW.get(self.adapter_state, '')}"


NOW = {
    "live": ", which is live now",
    "evaluating": ", which is being evaluated",
    "candidate": ", which is a candidate",
    "retired": ", which is retired",
    "rejected": ", which did not pass the gate",
}

GIVEN = """
SELECT p.id AS pair_id, p.prompt AS question, p.response AS answer, p.source, p.created_at AS at,
       p.status, p.reviewed_by, p.review_reason
FROM pairs p WHERE p.author = :person AND p.forgotten_at IS NULL
UNION ALL
SELECT NULL, coalesce(m.text, ''), f.text, 'correction', f.created_at, 'not learned', '', ''
FROM feedback f LEFT JOIN messages m ON m.reply_id = f.reply_id AND m.role = 'user'
WHERE f.person = :person AND f.kind = 'correction' AND f.live = 1 AND f.pair_id IS NULL
UNION ALL
SELECT p.id, p.prompt, p.response, 'correction', f.created_at, p.status, p.reviewed_by,
       p.review_reason
FROM feedback f JOIN pairs p ON p.id = f.pair_id
WHERE f.person = :person AND f.kind = 'correction' AND f.live = 1 AND p.author <> :person
ORDER BY at DESC LIMIT :most
"""

HOLDERS = """
SELECT d.name || '@' || a.version AS adapter, a.state AS adapter_state,
       CASE dp.split WHEN 'train' THEN 'learned' ELSE 'measured' END AS stage
FROM dataset_pairs dp JOIN adapters a ON a.dataset_id = dp.dataset_id
JOIN domains d ON d.id = a.domain_id
WHERE dp.pair_id = ?
ORDER BY a.state = 'live' DESC, a.state = 'candidate' DESC, a.state = 'rejected', a.id DESC LIMIT 1
"""


def contributions_of(db: Database, person: str, most: int = 10) -> list[Contribution]:
    """The person's newest contributions, at most `most`; -1 returns all."""
    found = rows(db, GIVEN, {"person": person, "most": most})
    return [_contribution(db, r) for r in found]


def _contribution(db: Database, given: Row) -> Contribution:
    status, by = given.pop("status"), given.pop("reviewed_by")
    why = given.pop("review_reason")
    if status == "rejected":
        reason = review_status.decode(by).reason
        stage = LEAVING[reason] if reason else "rejected"
        return Contribution(**given, stage=stage, why=why, adapter="", adapter_state="")
    held = row(db, HOLDERS, [given["pair_id"]]) if status == "approved" else None
    held = held or {"stage": status, "adapter": "", "adapter_state": ""}
    return Contribution(**given, **held, why="")
