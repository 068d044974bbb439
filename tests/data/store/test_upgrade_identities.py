"""A store from before kinds of identity knows the kinds and spellings of the people in it."""

from pathlib import Path

import pytest
from sqlite_utils import Database

from data.experiments import assignments, experiments, metric_sums
from data.people import identities
from data.store.db import Store, rows, sqlite3
from data.store.migrations import migrations

BEFORE = """
INSERT INTO domains (id, name, title, is_default, created_at) VALUES (1, 'helpdesk', 'h', 1, 1);
INSERT INTO experiments (id, domain_id, salt, state, started_by, started_at)
    VALUES (1, 1, 'salt', 'running', 'cli:ann', 5);
INSERT INTO variants (id, experiment_id, label, adapter_id, share)
    VALUES (1, 1, 'A', NULL, 0.5), (2, 1, 'B', NULL, 0.5);
INSERT INTO assignments (experiment_id, person, variant_id, at)
    VALUES (1, 'slack:T1/U1', 2, 6), (1, 'cli:ann', 1, 6), (1, 'web:0a', 1, 6),
           (1, 'http:12', 1, 6), (1, 'http:12/a/b', 1, 6), (1, 'forgotten:0a', 1, 6)
"""


def test_people_in_a_comparison_get_their_kind_and_source(tmp_path: Path) -> None:
    path = tmp_path / "understudy.db"
    db = Database(sqlite3.connect(str(path), isolation_level=None))
    migrations.apply(db, stop_before="m027_identities")
    for statement in BEFORE.split(";\n"):
        db.execute(statement)
    db.conn.close()

    with Store(path) as store:
        found = rows(store.db, "SELECT person, kind, source FROM assignments")
        known = {r["person"]: (r["kind"], r["source"]) for r in found}
        assert known == {
            "slack:T1/U1": ("slack", ""),
            "cli:ann": ("operator", ""),
            "web:0a": ("web_session", ""),
            "http:12": ("key", "key:12"),
            "http:12/a/b": ("key_user", "key:12"),
            "forgotten:0a": ("", ""),
        }
        for person, (kind, _) in known.items():
            assert (identities.kind_of(person) or "") == kind
        assert len(rows(store.db, "SELECT secret FROM store_secret")) == 1


RATED = """
INSERT INTO experiments (id, domain_id, salt, state, started_by, started_at)
    VALUES (2, 1, 'salt', 'stopped', 'cli:ann', 3);
INSERT INTO variants (id, experiment_id, label, adapter_id, share)
    VALUES (3, 2, 'A', NULL, 0.5), (4, 2, 'B', NULL, 0.5);
INSERT INTO conversations (id, domain_id, thread, person, created_at) VALUES (1, 1, 't', 'a', 5);
INSERT INTO replies (id, conversation_id, domain_id, person, variant_id, status, created_at)
    VALUES ('old', 1, 1, 'slack:T1/U1', 4, 'done', 6), ('r1', 1, 1, 'slack:T1/U1', 2, 'done', 6),
           ('r2', 1, 1, 'slack:T1/U2', 2, 'done', 6), ('r3', 1, 1, 'slack:T1/U1', 2, 'done', 6);
INSERT INTO feedback (reply_id, person, kind, value, live, counts, created_at)
    VALUES ('old', 'slack:T1/U9', 'thumb', 0, 1, 1, 7), ('r1', 'slack:T1/U1', 'thumb', 1, 1, 1, 7),
           ('r1', 'slack:T1/U9', 'thumb', 0, 1, 1, 7), ('r2', 'slack:T1/U9', 'thumb', 0, 1, 1, 7),
           ('r3', 'slack:T1/U1', 'thumb', 0, 1, 0, 7), ('r3', 'slack:T1/U1', 'thumb', 1, 0, 1, 6),
           ('r3', 'slack:T1/U1', 'follow_up', 1, 1, 1, 6);
INSERT INTO ratings (variant_id, person, up, down)
    VALUES (4, 'slack:T1/U1', 0, 1), (2, 'slack:T1/U1', 1, 1), (2, 'slack:T1/U2', 0, 1)
"""


def test_a_running_comparison_counts_its_askers_and_an_ended_one_stays(tmp_path: Path) -> None:
    path = tmp_path / "understudy.db"
    db = Database(sqlite3.connect(str(path), isolation_level=None))
    migrations.apply(db, stop_before="m028_asker_ratings")
    for statement in (BEFORE + ";\n" + RATED).split(";\n"):
        db.execute(statement)
    db.conn.close()

    with Store(path) as store:
        found = rows(store.db, "SELECT * FROM ratings ORDER BY variant_id, person")
        assert found == [
            {"variant_id": 2, "person": "slack:T1/U1", "up": 1, "down": 0},
            {"variant_id": 4, "person": "slack:T1/U1", "up": 0, "down": 1},
        ]


COMPOSED, DECOMPOSED = "http:1/Ren\u00e9", "http:1/Rene\u0301 "
SPELLINGS = f"""
INSERT INTO domains (id, name, title, is_default, created_at) VALUES (1, 'helpdesk', 'h', 1, 1);
INSERT INTO experiments (id, domain_id, salt, state, started_by, started_at, terms)
    VALUES (1, 1, 'salt', 'running', 'cli:ann', 5, '{{"people": "anyone"}}');
INSERT INTO variants (id, experiment_id, label, adapter_id, share)
    VALUES (1, 1, 'A', NULL, 0.5), (2, 1, 'B', NULL, 0.5);
INSERT INTO stages (experiment_id, number, shares, started_by, started_at)
    VALUES (1, 1, '{{"A":0.5,"B":0.5}}', 'cli:ann', 5);
INSERT INTO assignments (experiment_id, person, variant_id, at, kind, source)
    VALUES (1, '{COMPOSED}', 1, 9, 'key_user', 'key:1'),
           (1, '{DECOMPOSED}', 2, 6, 'key_user', 'key:1'),
           (1, 'slack:t1/u1', 2, 6, 'slack', ''), (1, 'http:1/ ', 2, 7, 'key_user', 'key:1'),
           (1, 'web:0a', 1, 8, 'web_session', 'address:1');
INSERT INTO conversations (id, domain_id, thread, person, created_at)
    VALUES (1, 1, 't', '{DECOMPOSED}', 5);
INSERT INTO replies (id, conversation_id, domain_id, person, variant_id, status, created_at)
    VALUES ('b1', 1, 1, '{DECOMPOSED}', 2, 'done', 6), ('a1', 1, 1, '{COMPOSED}', 1, 'done', 9),
           ('b2', 1, 1, '{COMPOSED}', 2, 'done', 9), ('b3', 1, 1, 'slack:t1/u1', 2, 'done', 9);
INSERT INTO feedback (reply_id, person, kind, value, live, counts, created_at)
    VALUES ('b1', '{DECOMPOSED}', 'thumb', 1, 1, 1, 7), ('b1', '{COMPOSED}', 'thumb', 0, 1, 1, 8),
           ('a1', '{COMPOSED}', 'thumb', 0, 1, 1, 9), ('b2', '{COMPOSED}', 'thumb', 1, 1, 1, 9),
           ('b3', 'slack:t1/u1', 'thumb', 1, 1, 1, 9);
INSERT INTO ratings (variant_id, person, up, down)
    VALUES (2, '{DECOMPOSED}', 1, 0), (2, '{COMPOSED}', 1, 0), (1, '{COMPOSED}', 0, 1),
           (2, 'slack:t1/u1', 1, 0);
INSERT INTO tallies (domain_id, adapter_id, variant_id, person, up, down)
    VALUES (1, 0, 2, '{DECOMPOSED}', 1, 0), (1, 0, 2, '{COMPOSED}', 1, 1);
INSERT INTO voters (domain_id, person, state, rule, why, changed_by, changed_at)
    VALUES (1, '{COMPOSED}', 'released', 'r', '', 'cli:ann', 1),
           (1, '{DECOMPOSED}', 'quarantined', 'r', '', 'policy', 2);
INSERT INTO opt_outs (person, at) VALUES ('{DECOMPOSED}', 3), ('{COMPOSED}', 4);
INSERT INTO testers (experiment_id, person, variant_id) VALUES (1, 'web:0a ', 1)
"""


def test_people_whose_ids_differ_only_in_spelling_become_one_person(tmp_path: Path) -> None:
    path = tmp_path / "understudy.db"
    db = Database(sqlite3.connect(str(path), isolation_level=None))
    migrations.apply(db, stop_before="m037_normalised_people")
    for statement in SPELLINGS.split(";\n"):
        db.execute(statement)
    db.conn.close()

    with Store(path) as store:
        exposed = rows(
            store.db, "SELECT person, variant_id, at, kind, tester FROM assignments ORDER BY person"
        )
        assert [tuple(r.values()) for r in exposed] == [
            ("http:1", 2, 7, "key", 0),
            (COMPOSED, 2, 6, "key_user", 0),
            ("slack:T1/U1", 2, 6, "slack", 0),
            ("web:0a", 1, 8, "web_session", 1),
        ]
        assert identities.normalised(DECOMPOSED) == COMPOSED
        totals = rows(store.db, "SELECT variant_id, person, up, down FROM ratings ORDER BY 1, 2")
        assert [tuple(r.values()) for r in totals] == [
            (1, COMPOSED, 0, 1),
            (2, COMPOSED, 2, 0),
            (2, "slack:T1/U1", 1, 0),
        ]
        (tally,) = rows(store.db, "SELECT person, up, down FROM tallies")
        assert tuple(tally.values()) == (COMPOSED, 2, 1)
        (voter,) = rows(store.db, "SELECT person, state FROM voters")
        assert tuple(voter.values()) == (COMPOSED, "quarantined")
        assert len(rows(store.db, "SELECT 1 FROM feedback")) == 5, "no vote is lost"
        current = rows(store.db, "SELECT value FROM feedback WHERE reply_id = 'b1' AND live = 1")
        assert len(current) == 1
        people = "SELECT person FROM replies UNION SELECT person FROM feedback"
        people += " UNION SELECT person FROM conversations UNION SELECT person FROM opt_outs"
        found = {r["person"] for r in rows(store.db, people)}
        assert found == {COMPOSED, "slack:T1/U1"}

        experiment = experiments.get(store.db, 1)
        b = metric_sums.collect(store.db, experiment).stages[0].cells[1].of("rating")
        assert (b.people, b.wy) == (2, pytest.approx(b.w)), "one value, of two ratings"
        assigned = assignments.current_assignment(store.db, experiment, COMPOSED)
        assert assigned is not None
        assert (assigned.variant.label, assigned.settled) == ("B", True)
        assignments.expose(store.db, 1, identities.normalised(DECOMPOSED), 1)
        assert len(rows(store.db, "SELECT 1 FROM assignments")) == 4
