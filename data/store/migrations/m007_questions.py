"""Questions."""

from sqlite_utils import Database

from data.store.migrations.script import run


def upgrade(db: Database) -> None:
    run(
        db,
        """
        CREATE TABLE questions (
            id INTEGER PRIMARY KEY,
            team TEXT NOT NULL,
            channel TEXT NOT NULL,
            ts TEXT NOT NULL,
            thread_ts TEXT NOT NULL,
            user TEXT NOT NULL,
            text TEXT NOT NULL,                             -- removed when it is answered
            response_url TEXT NOT NULL DEFAULT '',          -- of a command, whose answer is private
            withdrawn INTEGER NOT NULL DEFAULT 0,           -- its message was deleted
            state TEXT NOT NULL DEFAULT 'waiting'
                CHECK (state IN ('waiting', 'answering', 'done')),
            worker TEXT NOT NULL DEFAULT '',
            generation INTEGER NOT NULL DEFAULT 0,          -- fences attempts that lost it
            attempts INTEGER NOT NULL DEFAULT 0,            -- whose worker was lost
            lease_until INTEGER NOT NULL DEFAULT 0,
            not_before INTEGER NOT NULL DEFAULT 0,
            reply_id TEXT NOT NULL DEFAULT '',              -- of the latest attempt
            begun INTEGER NOT NULL DEFAULT 0,               -- something may be shown
            shown_ts TEXT NOT NULL DEFAULT '',              -- the message that shows it
            created_at INTEGER NOT NULL,
            finished_at INTEGER,
            UNIQUE (team, channel, ts)
        ) STRICT;
        CREATE INDEX questions_open ON questions (team, channel, thread_ts, id)
            WHERE state IN ('waiting', 'answering');
        CREATE INDEX questions_done ON questions (finished_at) WHERE state = 'done'
        """,
    )
