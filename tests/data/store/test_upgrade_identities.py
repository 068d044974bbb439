"""A store from before kinds of identity knows the kinds of the people in its comparisons."""

from pathlib import Path

from sqlite_utils import Database

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
