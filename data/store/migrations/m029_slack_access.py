"""What Slack refuses the bot, in which channels it listens, and the parts of long answers."""

from sqlite_utils import Database

from data.store.migrations.script import run


def upgrade(db: Database) -> None:
    run(
        db,
        """
        CREATE TABLE slack_problems (
            team TEXT NOT NULL,
            channel TEXT NOT NULL,     -- '': the whole workspace
            code TEXT NOT NULL,        -- Slack's error code
            at INTEGER NOT NULL,       -- microseconds since the epoch
            PRIMARY KEY (team, channel)
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE slack_channels (
            team TEXT NOT NULL,
            channel TEXT NOT NULL,
            listens TEXT NOT NULL CHECK (listens IN ('all', 'off')),  -- without a row: to mentions
            set_by TEXT NOT NULL,
            set_at INTEGER NOT NULL,
            PRIMARY KEY (team, channel)
        ) STRICT, WITHOUT ROWID;
        -- the messages of a long answer before its last one
        CREATE TABLE reply_parts (
            external_id TEXT PRIMARY KEY,
            reply_id TEXT NOT NULL REFERENCES replies (id) ON DELETE CASCADE
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX reply_parts_by_reply ON reply_parts (reply_id)
        """,
    )
