"""The Slack workspaces that installed the bot, each with its token, which callers encrypt."""

from dataclasses import dataclass

from sqlite_utils import Database

from data.store.clock import now_us
from data.store.db import changed, row, rows

COLUMNS = "team, name, bot_user, bot_id, installed_by, token, installed_at"


@dataclass(frozen=True)
class Installation:
    team: str
    name: str  # of the workspace
    bot_user: str  # the bot's user id in the workspace
    bot_id: str
    installed_by: str  # a user id
    token: str = ""  # encrypted
    installed_at: int = 0  # microseconds since the epoch


def list_installations(db: Database) -> list[Installation]:
    """All of them, by team."""
    found = rows(db, f"SELECT {COLUMNS} FROM slack_installations ORDER BY team")
    return [Installation(**r) for r in found]


def installation_of(db: Database, team: str) -> Installation | None:
    found = row(db, f"SELECT {COLUMNS} FROM slack_installations WHERE team = ?", [team])
    return None if found is None else Installation(**found)


def keep(db: Database, found: Installation, sealed: str) -> None:
    """Store a workspace with its encrypted token, replacing an earlier installation."""
    db.execute(
        f"INSERT OR REPLACE INTO slack_installations ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)",
        [
            found.team,
            found.name,
            found.bot_user,
            found.bot_id,
            found.installed_by,
            sealed,
            now_us(),
        ],
    )


def reseal(db: Database, team: str, before: str, sealed: str) -> None:
    """Store the same token, encrypted with another key."""
    sql = "UPDATE slack_installations SET token = ? WHERE team = ? AND token = ?"
    db.execute(sql, [sealed, team, before])


def remove(db: Database, team: str, at_us: int) -> bool:
    """Delete a workspace and its token. Returns False if there is none, or if it was installed
    after `at_us`."""
    sql = "DELETE FROM slack_installations WHERE team = ? AND installed_at <= ?"
    return changed(db, sql, [team, at_us]) > 0
