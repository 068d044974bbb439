"""What must hold of comparisons, and of what is live, after each step of the simulation."""

from dataclasses import dataclass, field
from typing import Any

from data.adapters import registry
from data.experiments import decisions
from data.store.db import Store, rows, value

PROMOTED = "SELECT coalesce(max(id), 0) FROM promotions"
REPLIED = "SELECT coalesce(max(rowid), 0) FROM replies"
DECIDED = "SELECT coalesce(max(id), 0) FROM decisions"
RUNNING = "SELECT id, domain_id FROM experiments WHERE state = 'running'"
COMPARED = """
SELECT d.name || '@' || a.version || ' is compared and ' || CASE
    WHEN a.removal_asked_at IS NULL THEN a.state ELSE 'removed' END AS wrong
FROM experiments e JOIN variants v ON v.experiment_id = e.id JOIN adapters a ON a.id = v.adapter_id
JOIN domains d ON d.id = a.domain_id
WHERE e.state = 'running'
AND (a.removal_asked_at IS NOT NULL OR a.state IN ('rejected', 'evaluating')
     OR a.domain_id <> e.domain_id)
"""
LIVE = """
SELECT d.name || ' has another live adapter than its last promotion says' AS wrong
FROM domains d
WHERE (SELECT a.id FROM adapters a WHERE a.domain_id = d.id AND a.state = 'live') IS NOT
      (SELECT p.adapter_id FROM promotions p WHERE p.domain_id = d.id ORDER BY p.id DESC LIMIT 1)
"""
# The new replies: of a comparison that runs in their domain, of its variant's adapter, and of the
# variant that their person is on.
REPLIES = """
SELECT r.id || ' counts for a comparison that ' || CASE
    WHEN e.state <> 'running' THEN 'has ended'
    WHEN e.domain_id <> r.domain_id THEN 'is of another domain'
    WHEN v.adapter_id IS NOT r.adapter_id THEN 'compares another adapter'
    ELSE 'has its person on another variant' END AS wrong
FROM replies r JOIN variants v ON v.id = r.variant_id JOIN experiments e ON e.id = v.experiment_id
LEFT JOIN assignments a ON a.experiment_id = e.id AND a.person = r.person
WHERE r.rowid > ? AND (e.state <> 'running' OR e.domain_id <> r.domain_id
    OR v.adapter_id IS NOT r.adapter_id OR a.variant_id IS NOT v.id)
"""
# What a comparison counts is what its people said about their own answers, added up.
COUNTED = """
SELECT r.variant_id, r.person, total(f.value = 1) AS up, total(f.value = 0) AS down
FROM feedback f JOIN replies r ON r.id = f.reply_id AND r.person = f.person
WHERE f.kind = 'thumb' AND f.live = 1 AND f.counts = 1 AND r.variant_id IS NOT NULL GROUP BY 1, 2
"""
STRAY = """
SELECT t.person FROM ratings t JOIN variants v ON v.id = t.variant_id
LEFT JOIN assignments a ON a.experiment_id = v.experiment_id AND a.person = t.person
WHERE a.variant_id IS NOT t.variant_id
"""


@dataclass
class ComparisonInvariants:
    """Each `check` sees what one step of one actor has changed."""

    store: Store
    _changes: int = -1
    _running: dict[int, int] = field(default_factory=dict)  # comparison -> domain
    _seen: dict[str, int] = field(default_factory=dict)

    def check(self) -> str:
        """What does not hold; '' if everything does."""
        db = self.store.db
        if db.conn.total_changes == self._changes:
            return ""
        self._changes = db.conn.total_changes
        before, self._running = self._running, {r["id"]: r["domain_id"] for r in rows(db, RUNNING)}
        wrong = rows(db, COMPARED) + rows(db, LIVE) + rows(db, REPLIES, [self._new(REPLIED)])
        for found in rows(db, "SELECT * FROM promotions WHERE id > ?", [self._new(PROMOTED)]):
            still = [e for e, domain in before.items() if domain == found["domain_id"]]
            if set(still) & self._running.keys():
                wrong.append({"wrong": f"comparison {still[0]} goes on after a promotion"})
        for found in rows(db, "SELECT id FROM decisions WHERE id > ?", [self._new(DECIDED)]):
            wrong.append({"wrong": self._decision(db, found["id"], before)})
        return next((w["wrong"] for w in wrong if w["wrong"]), "")

    def _new(self, newest: str) -> int:
        """The newest id at the last check."""
        last, self._seen[newest] = self._seen.get(newest, 0), int(value(self.store.db, newest))
        return last

    def _decision(self, db: Any, number: int, before: dict[int, int]) -> str:
        made = decisions.get(db, number)
        if made.experiment_id not in before:
            return f"decision {number} is about a comparison that has ended"
        if made.action not in ("promote", "roll back"):
            return ""
        if made.experiment_id in self._running:
            return f"comparison {made.experiment_id} goes on after decision {number}"
        live = registry.live(db, before[made.experiment_id])
        name = live.name if live is not None else "the bare base"
        sql = "SELECT adapter_id FROM variants WHERE experiment_id = ? AND label = ?"
        winner = value(db, sql, [made.experiment_id, made.variant])
        if made.action == "promote" and (live is None or live.id != winner):
            return f"decision {number} promoted adapter {winner}, and {name} is live"
        heir = made.results["heir"]  # an adapter, or words for what people get without one
        if made.action == "roll back" and (heir != name if live else registry.NAME.fullmatch(heir)):
            return f"decision {number} rolled back to {heir}, and {name} is live"
        return ""

    def check_ratings(self) -> str:
        """Every rating that counts is one of the comparison's own people about their variant."""
        db = self.store.db
        sql = "SELECT variant_id, person, up, down FROM ratings WHERE up + down > 0"
        if sorted(map(repr, rows(db, sql))) != sorted(map(repr, _whole(rows(db, COUNTED)))):
            return "the ratings of a comparison are not those that its people gave"
        stray = rows(db, STRAY)
        return f"{stray[0]['person']} rates a variant that they never saw" if stray else ""


def _whole(counted: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**each, "up": int(each["up"]), "down": int(each["down"])} for each in counted]
