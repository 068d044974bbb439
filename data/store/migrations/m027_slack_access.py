"""What Slack refuses the bot, and in which channels it listens."""

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
        ) STRICT, WITHOUT ROWID
        """,
    )
