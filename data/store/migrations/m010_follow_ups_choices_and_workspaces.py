"""Follow ups choices and workspaces."""

from sqlite_utils import Database

from data.store.migrations.script import run


def upgrade(db: Database) -> None:
    """Answers that are written anew or gone on with, the domain that a person chose, and the Slack
    workspaces that installed the bot."""
    run(
        db,
        """
        ALTER TABLE replies ADD COLUMN again_of TEXT REFERENCES replies (id) ON DELETE SET NULL;
        ALTER TABLE replies ADD COLUMN continues TEXT REFERENCES replies (id) ON DELETE SET NULL;
        CREATE INDEX replies_anew ON replies (again_of) WHERE again_of IS NOT NULL;
        CREATE INDEX replies_continued ON replies (continues) WHERE continues IS NOT NULL;

        ALTER TABLE questions ADD COLUMN asked_ts TEXT NOT NULL DEFAULT '';  -- of what was asked
        ALTER TABLE questions ADD COLUMN again_of TEXT NOT NULL DEFAULT '';  -- a reply's id
        ALTER TABLE questions ADD COLUMN continues TEXT NOT NULL DEFAULT ''; -- a reply's id
        UPDATE questions SET asked_ts = ts;
        CREATE INDEX questions_asked ON questions (team, channel, asked_ts)
            WHERE state IN ('waiting', 'answering');

        CREATE TABLE domain_choices (
            person TEXT PRIMARY KEY,
            domain_id INTEGER NOT NULL REFERENCES domains (id) ON DELETE CASCADE
        ) STRICT, WITHOUT ROWID;

        CREATE TABLE slack_installations (
            team TEXT PRIMARY KEY,
            name TEXT NOT NULL,                             -- of the workspace
            bot_user TEXT NOT NULL,
            bot_id TEXT NOT NULL,
            token TEXT NOT NULL,                            -- encrypted with [slack] token_key
            installed_by TEXT NOT NULL,                     -- a user id
            installed_at INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID
        """,
    )
