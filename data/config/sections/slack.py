"""`[slack]`: the Slack front end."""

import re
from typing import Literal

from pydantic import Field, SecretStr, field_validator

from data.config.sections.fields import Section

TIME = r"([01]\d|2[0-3]):[0-5]\d"


class SlackSettings(Section):
    """The Slack front end. The secrets belong in the environment, not in the file."""

    mode: Literal["off", "socket", "http"] = Field(
        default="off",
        description='How Slack reaches the bot: `"socket"` (Socket Mode) or `"http"` (signed '
        "requests).",
    )
    bot_token: SecretStr = Field(default=SecretStr(""), description="The bot token, `xoxb-…`.")
    app_token: SecretStr = Field(
        default=SecretStr(""), description="The app-level token for Socket Mode, `xapp-…`."
    )
    signing_secret: SecretStr = Field(
        default=SecretStr(""), description="The signing secret that verifies requests over HTTP."
    )
    client_id: str = Field(
        default="",
        description="The app's client ID. With `client_secret` and `token_key`, several workspaces "
        "can install the bot (HTTP only).",
    )
    client_secret: SecretStr = Field(default=SecretStr(""), description="The app's client secret.")
    token_key: SecretStr = Field(
        default=SecretStr(""),
        description="The key that encrypts the tokens of installed workspaces; "
        "`understudy slack key` makes one. To replace it, put the new key in front of the old one, "
        "separated by a comma: the first encrypts, and all of them decrypt.",
    )
    workspaces: tuple[str, ...] = Field(
        default=(),
        description="IDs (`T…`) of the workspaces that may install the bot. Empty: any workspace.",
    )
    admins: tuple[str, ...] = Field(
        default=(),
        description="User IDs of admins: `U…`, or `T…/U…` for a workspace that installed the bot.",
    )
    reviewers: tuple[str, ...] = Field(
        default=(), description="User IDs of reviewers, in the same form as `admins`."
    )
    admin_group: str = Field(
        default="", description="The ID (`S…`) of a user group whose members are admins."
    )
    reviewer_group: str = Field(
        default="", description="The ID (`S…`) of a user group whose members are reviewers."
    )
    workspace_admins: bool = Field(
        default=False, description="Treat the workspace's admins and owners as admins of the bot."
    )
    allow_guests: bool = Field(
        default=False,
        description="Let guests ask, vote, correct, teach and use commands. `false`: they may do "
        "nothing.",
    )
    allow_external: bool = Field(
        default=False,
        description="Let people of other organisations ask, vote, correct, teach and use commands "
        "in shared channels. `false`: they may do nothing.",
    )
    digest_channel: str = Field(
        default="",
        description="The channel that gets a daily digest of pairs to review: `C…`, or `T…/C…` for "
        'a workspace that installed the bot. `""`: no digest.',
    )
    digest_at: str = Field(
        default="09:00", description="The time of the digest, in local time, as `HH:MM`."
    )
    api_url: str = Field(
        default="https://slack.com/api/",
        description="The address of Slack's Web API. Change it for tests only.",
    )

    @field_validator("digest_at")
    @classmethod
    def _time(cls, text: str) -> str:
        if not re.fullmatch(TIME, text):
            raise ValueError('it must be a time of the day such as "09:00"')
        return text

    @property
    def needed(self) -> dict[str, SecretStr]:
        """The secrets that the mode needs, by name of their setting."""
        match self.mode:
            case "socket":
                names: tuple[str, ...] = ("bot_token", "app_token")
            case "http" if self.client_id:
                names = ("signing_secret", "client_secret", "token_key")
            case "http":
                names = ("bot_token", "signing_secret")
            case _:
                names = ()
        return {name: getattr(self, name) for name in names}

    @property
    def installable(self) -> bool:
        """Whether workspaces may install the bot through Slack's OAuth page."""
        return self.mode == "http" and bool(self.client_id)
