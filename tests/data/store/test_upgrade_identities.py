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
