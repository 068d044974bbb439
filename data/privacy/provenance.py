"""Provenance: which adapters, runs and reports contain the words of which pairs, and removing them.

An adapter was trained on the pairs of its dataset, or on the rated answers of its run; so was every
adapter that continues from it. In addition to its weights, an adapter keeps a few questions with
answers: as tokens (reference outputs and probes, columns `canaries` and `probes`), and as samples
in its scores, its card and the run's report. Weights cannot be cleaned: `adapters_to_retrain` lists
the adapters that are in use and should be trained again.
"""

from collections.abc import Sequence
from pathlib import Path

import orjson
from sqlite_utils import Database

from data.runs import report
from data.store.db import rows

CARD = "README.md"  # of an adapter


PREFERRED = (  # runs that learn that a pair's answer is preferred
    "SELECT run_id FROM (SELECT run_id, pair_id FROM run_judgements WHERE pair_id IS NOT NULL "
    "UNION SELECT run_id, pair_id FROM run_judged_answers WHERE pair_id IS NOT NULL) "
    "WHERE pair_id"
)


def preference_runs_of(db: Database, person: str) -> list[int]:
    """The runs that train on rated answers from the person's conversations, on answers that the
    person rated, or on preferred answers with the person's words."""
    found = rows(
        db,
        "SELECT DISTINCT j.run_id FROM run_judgements j JOIN replies r ON r.id = j.reply_id "
        "WHERE r.conversation_id IN (SELECT conversation_id FROM replies WHERE person = :person) "
        "OR j.reply_id IN (SELECT reply_id FROM feedback WHERE person = :person) "
        "UNION SELECT f.run_id FROM run_judged_answers f "
        "JOIN judged_answers a ON a.id IN (f.answer_id, f.chosen_id) WHERE a.author = :person "
        f"UNION {PREFERRED} IN (SELECT id FROM pairs WHERE author = :person "
        "UNION SELECT pair_id FROM pair_words WHERE person = :person)",
        {"person": person},
    )
    return sorted(int(r["run_id"]) for r in found)


def trained_on(db: Database, pair_ids: Sequence[int], run_ids: Sequence[int] = ()) -> set[int]:
    """The adapters trained on these pairs or by these runs, and those continued from them."""
    found = rows(
        db,
        "WITH RECURSIVE tuned (id) AS ("
        "SELECT a.id FROM adapters a JOIN dataset_pairs dp ON dp.dataset_id = a.dataset_id "
        "WHERE dp.split = 'train' AND dp.pair_id IN (SELECT value FROM json_each(?)) "
        "UNION SELECT id FROM adapters WHERE run_id IN (SELECT value FROM json_each(?)) "
        "UNION SELECT id FROM adapters WHERE run_id IN "
        f"({PREFERRED} IN (SELECT value FROM json_each(?))) "
        "UNION SELECT a.id FROM adapters a JOIN tuned t ON a.parent_id = t.id"
        ") SELECT id FROM tuned",
        [orjson.dumps(ids).decode() for ids in (pair_ids, run_ids, pair_ids)],
    )
    return {int(r["id"]) for r in found}


def continued_from(db: Database, adapter_id: int) -> set[int]:
    """The adapter, and all adapters that continue from it."""
    found = rows(
        db,
        "WITH RECURSIVE tuned (id) AS (SELECT ? UNION "
        "SELECT a.id FROM adapters a JOIN tuned t ON a.parent_id = t.id) SELECT id FROM tuned",
        [adapter_id],
    )
    return {int(r["id"]) for r in found}


def open_runs_on(db: Database, pair_ids: Sequence[int], run_ids: Sequence[int] = ()) -> list[int]:
    """The open runs among these, and the open runs that learn from one of these pairs."""
    found = rows(
        db,
        "SELECT r.id FROM runs r WHERE r.state IN ('queued', 'running') "
        "AND r.cancel_requested = 0 AND (r.id IN (SELECT value FROM json_each(?)) "
        "OR EXISTS (SELECT 1 FROM dataset_pairs dp WHERE dp.dataset_id = r.dataset_id "
        "AND dp.pair_id IN (SELECT value FROM json_each(?))) "
        f"OR r.id IN ({PREFERRED} IN (SELECT value FROM json_each(?)))) ORDER BY r.id",
        [orjson.dumps(ids).decode() for ids in (run_ids, pair_ids, pair_ids)],
    )
    return [int(r["id"]) for r in found]


def adapter_names(db: Database, adapter_ids: list[int]) -> tuple[str, ...]:
    """The names (`helpdesk@3`) of the adapters whose files still exist."""
    found = rows(
        db,
        "SELECT d.name || '@' || a.version AS name FROM adapters a "
        "JOIN domains d ON d.id = a.domain_id "
        "WHERE a.removed_at IS NULL AND a.id IN (SELECT value FROM json_each(?)) ORDER BY a.id",
        [orjson.dumps(adapter_ids).decode()],
    )
    return tuple(r["name"] for r in found)


def adapters_to_retrain(db: Database) -> list[str]:
    """Adapters in use that were trained on words of a person who has since been erased."""
    found = rows(db, TO_REDO)
    return [r["name"] for r in found]


def domains_to_retrain(db: Database, adapter_ids: Sequence[int]) -> list[str]:
    """The domains in which one of these adapters is in use and has to be replaced."""
    found = rows(
        db,
        "SELECT DISTINCT d.name FROM adapters a JOIN domains d ON d.id = a.domain_id "
        "WHERE a.id IN (SELECT value FROM json_each(?)) AND (a.state IN ('live', 'candidate') "
        "OR a.id IN (SELECT v.adapter_id FROM variants v JOIN experiments e "
        "ON e.id = v.experiment_id WHERE e.state = 'running')) ORDER BY d.name",
        [orjson.dumps(list(adapter_ids)).decode()],
    )
    return [r["name"] for r in found]


TO_REDO = """
WITH RECURSIVE tuned (id) AS (
    SELECT a.id FROM pairs p CROSS JOIN dataset_pairs dp ON dp.pair_id = p.id
    JOIN adapters a ON a.dataset_id = dp.dataset_id
    WHERE p.forgotten_at IS NOT NULL AND dp.split = 'train'
    UNION SELECT a.id FROM run_judgements j JOIN adapters a ON a.run_id = j.run_id
    WHERE NOT EXISTS (SELECT 1 FROM messages m WHERE m.reply_id = j.reply_id)
    UNION SELECT a.id FROM run_judged_answers f JOIN adapters a ON a.run_id = f.run_id
    WHERE NOT EXISTS (SELECT 1 FROM judged_answers j WHERE j.id = f.answer_id)
    OR (f.chosen_id IS NOT NULL
        AND NOT EXISTS (SELECT 1 FROM judged_answers j WHERE j.id = f.chosen_id))
    UNION SELECT a.id FROM pairs p JOIN run_judgements j ON j.pair_id = p.id
    JOIN adapters a ON a.run_id = j.run_id WHERE p.forgotten_at IS NOT NULL
    UNION SELECT a.id FROM pairs p JOIN run_judged_answers f ON f.pair_id = p.id
    JOIN adapters a ON a.run_id = f.run_id WHERE p.forgotten_at IS NOT NULL
    UNION SELECT a.id FROM adapters a JOIN tuned t ON a.parent_id = t.id
)
SELECT d.name || '@' || a.version AS name FROM adapters a JOIN domains d ON d.id = a.domain_id
WHERE a.id IN (SELECT id FROM tuned) AND (a.state = 'live' OR a.id IN (
    SELECT v.adapter_id FROM variants v JOIN experiments e ON e.id = v.experiment_id
    WHERE e.state = 'running'
)) ORDER BY a.id
"""


# -- removing words ----------------------------------------------------------------------------


def remove_run_outputs(db: Database, run_ids: Sequence[int]) -> None:
    """Remove the reference outputs and probes of adapters trained on rated answers, because it is
    no longer known whose words they contain."""
    db.execute(
        "UPDATE adapters SET canaries = '[]', probes = '[]' "
        "WHERE run_id IN (SELECT value FROM json_each(?))",
        [orjson.dumps(run_ids).decode()],
    )


def remove_words(db: Database, pair_ids: list[int]) -> None:
    """Remove reference outputs and probes with the tokens of these pairs, and samples with their
    words. Of adapters that were trained with references in the prompt, all of a domain are removed,
    because any of them may show one of the pairs."""
    gone = set(pair_ids)
    marks = ", ".join("?" * len(pair_ids))
    texts = rows(
        db, f"SELECT domain_id, prompt, response FROM pairs WHERE id IN ({marks})", pair_ids
    )
    words = {(r["domain_id"], r[name]) for r in texts for name in ("prompt", "response")}
    domains = {r["domain_id"] for r in texts}
    for r in rows(db, "SELECT id, domain_id, recipe, canaries, probes, scores FROM adapters"):
        shows = bool(orjson.loads(r["recipe"]).get("layout")) and r["domain_id"] in domains
        scores = orjson.loads(r["scores"])
        left = {
            name: [c for c in orjson.loads(r[name]) if c.get("pair_id") not in gone and not shows]
            for name in ("canaries", "probes")
        }
        if samples := scores.get("samples"):
            shown = [s for s in samples if not words & {(r["domain_id"], t) for t in s.values()}]
            scores["samples"] = shown
        written = {name: orjson.dumps(value).decode() for name, value in left.items()}
        written["scores"] = orjson.dumps(scores).decode()
        if any(written[name] != r[name] for name in written):
            db.execute(
                "UPDATE adapters SET canaries = ?, probes = ?, scores = ? WHERE id = ?",
                [written["canaries"], written["probes"], written["scores"], r["id"]],
            )


def clean_cards(db: Database, home: Path) -> None:
    """Remove sample answers that are gone from the registry from adapter cards and run reports."""
    for r in rows(db, "SELECT path, scores FROM adapters WHERE removed_at IS NULL"):
        card = home / r["path"] / CARD
        if not card.is_file():
            continue
        before = card.read_text(encoding="utf-8")
        samples = orjson.loads(r["scores"]).get("samples", [])
        after = _without_samples(before, {f"- **{_line(s['question'])}**" for s in samples})
        if after != before:
            new = card.with_name(f".{CARD}.new")
            new.write_text(after, encoding="utf-8")
            new.replace(card)
    report.rewrite(db, home / "runs")


def _without_samples(card: str, kept: set[str]) -> str:
    """The card (see `tuning/adapters/publish.py`) without samples whose question line is not in
    `kept`."""
    lines, showing = [], True
    for line in card.split("\n"):
        if line.startswith("- **"):
            showing = line in kept
        elif not line.startswith("  - "):
            showing = True
        if showing:
            lines.append(line)
    return "\n".join(lines)


def _line(text: str) -> str:
    return " ".join(text.split())
