"""What Slack refuses the bot: a token that it no longer accepts, or a channel it may not write in.

Each problem is stored when Slack reports it, and removed when the bot joins again or shows an
answer there again. So the terminal, `/health` and the alerts can tell the operator.
"""

from dataclasses import dataclass

from sqlite_utils import Database

from data.store.clock import now_us
from data.store.db import rows

RECENT_US = 24 * 3600 * 1_000_000  # nobody may ever ask in that channel again


@dataclass(frozen=True)
class SlackProblem:
    team: str
    channel: str  # '': the whole workspace
    code: str  # Slack's error code
    at: int  # microseconds since the epoch

    @property
    def text(self) -> str:
        """The problem and what to do about it."""
        if not self.channel:
            return (
                f"Slack no longer accepts the bot's token for the workspace {self.team} "
                f"({self.code}), so nobody is answered there. Install the app again. If its token "
                "is in the settings, replace [slack] bot_token and restart the bot."
            )
        return (
            f"Slack did not let the bot answer in the channel {self.team}/{self.channel} "
            f"({self.code}). {_remedy(self.code)}"
        )


def _remedy(code: str) -> str:
    if code == "missing_scope":
        return "Install the app again with the scopes that `understudy slack manifest` lists."
    if code in ("not_in_channel", "channel_not_found", "user_not_in_channel"):
        return "Invite the bot to the channel, or ask in a direct message."
    if code == "is_archived":
        return "The channel is archived."
    return "A workspace admin may have to allow the bot to post there."


def record(db: Database, team: str, channel: str, code: str) -> None:
    """Store a problem, replacing an earlier one at the same place."""
    db.execute(
        "INSERT INTO slack_problems (team, channel, code, at) VALUES (?, ?, ?, ?) "
        "ON CONFLICT (team, channel) DO UPDATE SET code = excluded.code, at = excluded.at",
        [team, channel, code, now_us()],
    )


def clear(db: Database, team: str, channel: str = "") -> None:
    """It works again."""
    db.execute("DELETE FROM slack_problems WHERE team = ? AND channel = ?", [team, channel])


def current(db: Database) -> list[SlackProblem]:
    """Workspaces that reject the token, then channels that refused an answer within a day."""
    found = rows(
        db,
        "SELECT team, channel, code, at FROM slack_problems WHERE channel = '' OR at > ? "
        "ORDER BY channel <> '', at DESC",
        [now_us() - RECENT_US],
    )
    return [SlackProblem(**r) for r in found]
