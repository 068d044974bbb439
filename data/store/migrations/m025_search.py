"""Search over pairs."""

from sqlite_utils import Database

SEARCHABLE = "{0}.status = 'approved' AND {0}.split <> 'golden' AND {0}.forgotten_at IS NULL"
OLD, NEW = SEARCHABLE.format("old"), SEARCHABLE.format("new")

CHANGED = """
    INSERT INTO search_changes (pair_id, domain_id, revision)
    SELECT {0}.id, {0}.domain_id,
        1 + coalesce((SELECT max(revision) FROM search_changes WHERE domain_id = {0}.domain_id), 0)
    WHERE {1}
    ON CONFLICT (pair_id) DO UPDATE
        SET domain_id = excluded.domain_id, revision = excluded.revision;
"""
ADD_WORDS = f"""
    INSERT INTO pair_search (rowid, prompt, response)
    SELECT new.id, new.prompt, new.response WHERE {NEW};
"""
REMOVE_WORDS = f"""
    INSERT INTO pair_search (pair_search, rowid, prompt, response)
    SELECT 'delete', old.id, old.prompt, old.response WHERE {OLD};
"""

STATEMENTS = (
    f"CREATE VIEW searchable_pairs AS SELECT * FROM pairs p WHERE {SEARCHABLE.format('p')}",
    # the pairs whose search entry changed, each with the revision of its newest change
    """
    CREATE TABLE search_changes (
        pair_id INTEGER PRIMARY KEY,
        domain_id INTEGER NOT NULL,
        revision INTEGER NOT NULL                       -- counts up within a domain
    ) STRICT
    """,
    "CREATE INDEX search_changes_by_revision ON search_changes (domain_id, revision)",
    # the words; three letters at a time, so that any language and any part of a word is found
    """
    CREATE VIRTUAL TABLE pair_search USING fts5 (
        prompt, response,
        content = 'searchable_pairs', content_rowid = 'id',
        tokenize = 'trigram remove_diacritics 1'
    )
    """,
    # overwrite the words of a deleted pair at once, as the store's `secure_delete` does elsewhere
    "INSERT INTO pair_search (pair_search, rank) VALUES ('secure-delete', 1)",
    # the vectors of a pair's words; they go with the words
    """
    CREATE TABLE pair_vectors (
        pair_id INTEGER NOT NULL REFERENCES pairs (id) ON DELETE CASCADE,
        encoder TEXT NOT NULL,                          -- digest of the encoder
        vectors BLOB NOT NULL,                          -- float16: prompt, prompt and response
        PRIMARY KEY (pair_id, encoder)
    ) STRICT
    """,
    f"""
    CREATE TRIGGER search_insert AFTER INSERT ON pairs BEGIN
        {ADD_WORDS}
        {CHANGED.format("new", NEW)}
    END
    """,
    f"""
    CREATE TRIGGER search_delete AFTER DELETE ON pairs BEGIN
        {REMOVE_WORDS}
        {CHANGED.format("old", OLD)}
    END
    """,
    f"""
    CREATE TRIGGER search_update
    AFTER UPDATE OF domain_id, prompt, response, turns, fact, split, status, forgotten_at ON pairs
    BEGIN
        {REMOVE_WORDS}
        {ADD_WORDS}
        DELETE FROM pair_vectors WHERE pair_id = old.id AND (
            NOT ({NEW}) OR new.prompt <> old.prompt OR new.response <> old.response
            OR new.turns <> old.turns);
        {CHANGED.format("old", f"({OLD}) AND new.domain_id <> old.domain_id")}
        {CHANGED.format("new", f"({OLD}) OR ({NEW})")}
    END
    """,
)


def upgrade(db: Database) -> None:
    """Search for pairs by their words and by vectors. Triggers keep both in step with the pairs,
    inside the transaction that changes a pair."""
    for statement in STATEMENTS:
        db.execute(statement)
    db.execute("INSERT INTO pair_search (pair_search) VALUES ('rebuild')")
    db.execute(
        "INSERT INTO search_changes (pair_id, domain_id, revision) "
        "SELECT id, domain_id, 1 FROM searchable_pairs"
    )
