"""A store from before decisions on comparisons keeps its ratings, totals and shares."""

from pathlib import Path

from sqlite_utils import Database

from data import domains
from data.experiments import experiments
from data.feedback import feedback, raters
from data.pairs import current_answers, pairs
from data.pairs.question import fact_of_prompt
from data.store.db import Store, rows, sqlite3
from data.store.migrations import migrations
from tests.data import given

PERSON = "slack:T1/U1"

BEFORE = """
INSERT INTO domains (id, name, title, is_default, created_at) VALUES (1, 'helpdesk', 'h', 1, 1);
INSERT INTO experiments (id, domain_id, salt, state, started_by, started_at)
    VALUES (1, 1, 'salt', 'running', 'cli:ann', 5);
INSERT INTO variants (id, experiment_id, label, adapter_id, share)
    VALUES (1, 1, 'A', NULL, 0.8), (2, 1, 'B', NULL, 0.2);
INSERT INTO assignments (experiment_id, person, variant_id, at) VALUES (1, 'slack:T1/U1', 2, 6);
INSERT INTO conversations (id, domain_id, thread, person, created_at)
    VALUES (1, 1, 't', 'slack:T1/U1', 5);
INSERT INTO replies (id, conversation_id, domain_id, person, variant_id, status, created_at)
    VALUES ('whole', 1, 1, 'slack:T1/U1', 2, 'done', 6),
           ('broken', 1, 1, 'slack:T1/U1', 2, 'partial', 7);
INSERT INTO feedback (id, reply_id, person, kind, value, live, created_at, superseded_at)
    VALUES (1, 'whole', 'slack:T1/U1', 'thumb', 1, 0, 7, 8),
           (2, 'whole', 'slack:T1/U1', 'thumb', 0, 1, 8, NULL),
           (3, 'broken', 'slack:T1/U1', 'thumb', 0, 1, 9, NULL);
INSERT INTO ratings (variant_id, person, up, down) VALUES (2, 'slack:T1/U1', 0, 1)
"""


def test_an_older_store_is_brought_up_to_date(tmp_path: Path) -> None:
    path = tmp_path / "understudy.db"
    db = Database(sqlite3.connect(str(path), isolation_level=None))
    migrations.apply(db, stop_before="m011_honest_comparisons")
    for statement in BEFORE.split(";\n"):
        db.execute(statement)
    db.conn.close()

    with Store(path) as store, store.write() as db:
        domain = domains.get(db, "helpdesk")
        running = experiments.running(db, domain.id)
        assert running is not None
        assert (running.stage, running.terms, running.pairwise) == (1, {}, 0.0)
        stages = rows(db, "SELECT number, shares, started_at FROM stages")
        assert stages == [{"number": 1, "shares": '{"A":0.8,"B":0.2}', "started_at": 5}]
        assert len(rows(db, "SELECT id FROM feedback")) == 3
        (line,) = raters.page(db, domain, everyone=True)
        assert (line.person, line.up, line.down) == (PERSON, 0, 2)

        feedback.thumb(db, "whole", PERSON, True)
        feedback.thumb(db, "broken", PERSON, True)
        candidate = given.counts(db, running)[1]
        assert (candidate.up, candidate.down, candidate.people) == (1, 0, 1)


PAIRS = """
INSERT INTO domains (id, name, title, is_default, created_at) VALUES (1, 'helpdesk', 'h', 1, 1);
INSERT INTO pairs (id, domain_id, prompt, response, fact, source, source_ref, status, fingerprint,
                   created_at)
    VALUES (1, 1, 'When?', 'From 9.', 'hours', 'import', 'a.jsonl:1', 'approved', 'a', 1),
           (2, 1, 'How early?', 'From 9.', 'hours', 'import', 'a.jsonl:12', 'approved', 'b', 1),
           (3, 1, 'Where?', 'There.', 'place', 'import', 'b.jsonl:1', 'approved', 'c', 1),
           (4, 1, 'WHEN?', 'From 8.', '{fact}', 'correction', 'r1', 'approved', 'd', 1)
"""


def test_corrections_of_an_older_store_replace_the_answer_of_their_fact(tmp_path: Path) -> None:
    path = tmp_path / "understudy.db"
    db = Database(sqlite3.connect(str(path), isolation_level=None))
    migrations.apply(db, stop_before="m032_current_answers")
    for statement in PAIRS.format(fact=pairs.fact_of("From 8.")).split(";\n"):
        db.execute(statement)
    db.conn.close()

    with Store(path) as store:
        domain = domains.get(store.db, "helpdesk")
        assert [p.import_id for p in pairs.list_pairs(store.db, domain)] == [1, 1, 3, None]
        assert fact_of_prompt(store.db, domain, "how  early?") == "hours"
        replaced = current_answers.replacements(store.db, domain, [1, 2, 3, 4])
        assert {old: new.response for old, new in replaced.items()} == {1: "From 8.", 2: "From 8."}
