"""Browsers that are signed in to the console."""

import httpx

from data.people import console_sessions, roles
from data.people.roles import Role
from tests.bot.conftest import Bot


def session(bot: Bot, role: Role = "admin", name: str = "") -> str:
    """The cookie of a new session of a person with that role."""
    person = f"user:{name or role}"

    def begin(db: object) -> str:
        if role != "member":
            roles.grant(db, person, role, "cli:test")  # type: ignore[arg-type]
        return console_sessions.begin(db, person, "Firefox on Linux")  # type: ignore[arg-type]

    return str(bot.write(begin))


def client(bot: Bot, role: Role = "admin", name: str = "") -> httpx.Client:
    """A browser of such a person. It says where its forms come from, as browsers do."""
    found = bot.http(follow_redirects=True, timeout=60)
    found.headers["Origin"] = bot.url
    found.cookies.set("understudy_console", session(bot, role, name), domain="127.0.0.1")
    return found
