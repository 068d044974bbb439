"""What pages of pairs need: an index of every filter, the words of all pairs, and bulk reviews."""

from sqlite_utils import Database

OTHER = (  # every pair that `pair_search` leaves out
    "NOT ({0}.status = 'approved' AND {0}.split <> 'golden') AND {0}.forgotten_at IS NULL"
)
OLD, NEW = OTHER.format("old"), OTHER.format("new")
ADD_WORDS = f"""
    INSERT INTO other_pair_search (rowid, prompt, response)
    SELECT new.id, new.prompt, new.response WHERE {NEW};
"""
REMOVE_WORDS = f"""
    INSERT INTO other_pair_search (other_pair_search, rowid, prompt, response)
    SELECT 'delete', old.id, old.prompt, old.response WHERE {OLD};
"""

STATEMENTS = (
    "CREATE INDEX pairs_listed ON pairs "
    "(domain_id, id, status, split, source, import_id, forgotten_at)",
    "CREATE INDEX pairs_golden ON pairs (domain_id, status, id) WHERE split = 'golden'",
    f"CREATE VIEW other_pairs AS SELECT * FROM pairs p WHERE {OTHER.format('p')}",
    # as `pair_search`, which holds the approved pairs
    """
    CREATE VIRTUAL TABLE other_pair_search USING fts5 (
        prompt, response,
        content = 'other_pairs', content_rowid = 'id',
        tokenize = 'trigram remove_diacritics 1'
    )
    """,
    "INSERT INTO other_pair_search (other_pair_search, rank) VALUES ('secure-delete', 1)",
    f"CREATE TRIGGER other_search_insert AFTER INSERT ON pairs BEGIN {ADD_WORDS} END",
    f"CREATE TRIGGER other_search_delete AFTER DELETE ON pairs BEGIN {REMOVE_WORDS} END",
    f"""
    CREATE TRIGGER other_search_update
    AFTER UPDATE OF prompt, response, split, status, forgotten_at ON pairs
    BEGIN
        {REMOVE_WORDS}
        {ADD_WORDS}
    END
    """,
    """
    CREATE TABLE bulk_reviews (
        id INTEGER PRIMARY KEY,
        batch INTEGER NOT NULL,                         -- the first one of the same decision
        domain_id INTEGER NOT NULL REFERENCES domains (id) ON DELETE CASCADE,
        pair_id INTEGER NOT NULL REFERENCES pairs (id) ON DELETE CASCADE,
        status_before TEXT NOT NULL,
        status_after TEXT NOT NULL,
        at INTEGER NOT NULL,
        undone_at INTEGER
    ) STRICT
    """,
    "CREATE INDEX bulk_reviews_by_batch ON bulk_reviews (batch, id)",
    "CREATE INDEX bulk_reviews_by_domain ON bulk_reviews (domain_id)",
    "CREATE INDEX bulk_reviews_by_pair ON bulk_reviews (pair_id)",
    # what the last check of a domain found; the words stay in the pairs
    """
    CREATE TABLE quality_marks (
        domain_id INTEGER NOT NULL REFERENCES domains (id) ON DELETE CASCADE,
        check_name TEXT NOT NULL,
        pair_id INTEGER NOT NULL REFERENCES pairs (id) ON DELETE CASCADE,
        kept_id INTEGER,                                -- of a duplicate: the pair that stays
        PRIMARY KEY (domain_id, check_name, pair_id)
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX quality_marks_by_pair ON quality_marks (pair_id)",
    """
    CREATE TABLE quality_checked (
        domain_id INTEGER PRIMARY KEY REFERENCES domains (id) ON DELETE CASCADE,
        pairs INTEGER NOT NULL,                         -- that were checked
        not_checked TEXT NOT NULL,                      -- JSON: check -> why it could not run
        at INTEGER NOT NULL
    ) STRICT
    """,
)


def upgrade(db: Database) -> None:
    """Triggers keep the words in step with the pairs, as those of `pair_search` do."""
    for statement in STATEMENTS:
        db.execute(statement)
    db.execute("INSERT INTO other_pair_search (other_pair_search) VALUES ('rebuild')")
