"""Conversations and feedback."""

from sqlite_utils import Database

from data.store.migrations.script import run


def upgrade(db: Database) -> None:
    run(
        db,
        """
        CREATE TABLE conversations (
            id INTEGER PRIMARY KEY,
            domain_id INTEGER NOT NULL REFERENCES domains (id),
            thread TEXT NOT NULL UNIQUE,                    -- slack:T1/C1/ts, web:..., http:...
            person TEXT NOT NULL,                           -- who began it
            created_at INTEGER NOT NULL
        ) STRICT;
        CREATE INDEX conversations_by_person ON conversations (person);

        CREATE TABLE replies (
            id TEXT PRIMARY KEY,
            conversation_id INTEGER NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
            domain_id INTEGER NOT NULL REFERENCES domains (id),
            person TEXT NOT NULL,                           -- who asked
            adapter_id INTEGER REFERENCES adapters (id),    -- NULL: the bare base
            variant_id INTEGER REFERENCES variants (id),
            status TEXT NOT NULL
                CHECK (status IN ('streaming', 'done', 'partial', 'cancelled', 'failed')),
            finish_reason TEXT NOT NULL DEFAULT '',
            prompt_tokens INTEGER NOT NULL DEFAULT 0,
            completion_tokens INTEGER NOT NULL DEFAULT 0,
            first_token_us INTEGER,
            latency_us INTEGER,
            error TEXT NOT NULL DEFAULT '',
            created_at INTEGER NOT NULL
        ) STRICT;
        CREATE INDEX replies_by_person ON replies (person, created_at);
        CREATE INDEX replies_by_variant ON replies (variant_id) WHERE variant_id IS NOT NULL;
        CREATE INDEX replies_by_adapter ON replies (adapter_id, created_at);
        CREATE INDEX replies_by_conversation ON replies (conversation_id);
        CREATE INDEX replies_open ON replies (id) WHERE status = 'streaming';

        CREATE TABLE messages (
            id INTEGER PRIMARY KEY,
            conversation_id INTEGER NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
            role TEXT NOT NULL CHECK (role IN ('user', 'assistant')),
            text TEXT NOT NULL,
            person TEXT NOT NULL DEFAULT '',                -- the author of a user's message
            reply_id TEXT REFERENCES replies (id) ON DELETE CASCADE,
            external_id TEXT NOT NULL DEFAULT '',           -- the front end's own id, Slack's ts
            created_at INTEGER NOT NULL
        ) STRICT;
        CREATE INDEX messages_by_conversation ON messages (conversation_id, id);
        CREATE INDEX messages_by_reply ON messages (reply_id) WHERE reply_id IS NOT NULL;
        CREATE INDEX messages_by_external ON messages (external_id) WHERE external_id <> '';
        CREATE INDEX messages_by_person ON messages (person) WHERE person <> '';

        CREATE TABLE feedback (
            id INTEGER PRIMARY KEY,
            reply_id TEXT NOT NULL REFERENCES replies (id) ON DELETE CASCADE,
            person TEXT NOT NULL,
            kind TEXT NOT NULL CHECK (kind IN ('thumb', 'reason', 'correction')),
            value REAL,                                     -- thumb: 1 up, 0 down
            text TEXT NOT NULL DEFAULT '',
            pair_id INTEGER REFERENCES pairs (id),          -- the pair a correction became
            live INTEGER NOT NULL DEFAULT 1,
            created_at INTEGER NOT NULL,
            superseded_at INTEGER
        ) STRICT;
        CREATE UNIQUE INDEX one_live_judgement ON feedback (reply_id, person, kind)
            WHERE live = 1;
        CREATE INDEX feedback_by_person ON feedback (person);

        CREATE TABLE deliveries (
            source TEXT NOT NULL,                           -- slack:event, slack:message, ...
            key TEXT NOT NULL,
            at INTEGER NOT NULL,
            PRIMARY KEY (source, key)
        ) STRICT, WITHOUT ROWID
        """,
    )
