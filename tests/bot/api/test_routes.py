"""Every route, without a key and with a key of too low a role. New routes are covered too."""

import re
from collections.abc import Iterator

import pytest
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute, Route

from bot.app import create_app
from data.config.settings import Settings, SlackSettings
from data.store.db import Store
from tests.bot.conftest import Bot

OPEN = {
    ("GET", "/"),
    ("GET", "/health"),
    ("GET", "/web/chat.js"),
    ("GET", "/web/mine.js"),
    ("GET", "/web/chat.css"),
    ("GET", "/web/icon.svg"),
    ("GET", "/web/theme.css"),
    ("GET", "/console/sign-in"),
    ("POST", "/console/sign-in"),  # needs a link
    ("GET", "/console/sign-in/oidc"),
    ("GET", "/console/sign-in/oidc/callback"),  # needs what began in this browser
    ("GET", "/console/static/{name}"),
}
LOCAL = {("GET", "/metrics")}  # open to the same machine: tests/bot/api/test_health.py
MEMBERS = {
    ("POST", "/v1/chat/completions"),
    ("POST", "/v1/chat/answers"),
    ("POST", "/v1/responses"),
    ("GET", "/v1/responses/{response_id}"),
    ("DELETE", "/v1/responses/{response_id}"),
    ("POST", "/v1/completions"),
    ("POST", "/v1/embeddings"),
    ("POST", "/v1/feedback"),
    ("GET", "/v1/models"),
    ("GET", "/v1/models/{name}"),
    ("GET", "/v1/people/me"),
    ("GET", "/v1/people/me/export"),
    ("PUT", "/v1/people/me/learning"),
    ("DELETE", "/v1/people/me"),
}
REVIEWERS = {
    ("GET", "/v1/domains/{name}/imports"),
    ("GET", "/v1/unanswered"),
    ("POST", "/v1/unanswered/{group_id}/answer"),
    ("POST", "/v1/unanswered/{group_id}/dismiss"),
    ("GET", "/v1/runs"),
    ("GET", "/v1/runs/{run_id}"),
    ("GET", "/v1/runs/{run_id}/report"),
    ("GET", "/v1/adapters"),
    ("GET", "/v1/experiments"),
    ("GET", "/v1/experiments/{experiment_id}"),
    ("GET", "/v1/experiments/{experiment_id}/decisions"),
    ("GET", "/v1/experiments/{experiment_id}/voters"),
    ("GET", "/v1/decisions/{decision_id}"),
    ("GET", "/v1/policies"),
    ("GET", "/v1/triggers"),
    ("GET", "/v1/adapters/{name}/lineage"),
    ("GET", "/v1/pairs/{pair_id}/lineage"),
    ("GET", "/v1/voters"),
    ("GET", "/v1/pairs"),
    ("GET", "/v1/pairs/{pair_id}/fact"),
    ("POST", "/v1/pairs/{pair_id}/review"),
    ("POST", "/v1/pairs/{pair_id}/unmask"),
    ("GET", "/v1/domains/{name}/quality"),
}


def routes(bot: Bot) -> list[tuple[str, str]]:
    """(method, path) of every route of the application."""
    settings = bot.settings.model_copy(update={"slack": SlackSettings(mode="off")})
    return sorted(_flat(create_app(settings, bot.store).routes))


def _flat(found: list[BaseRoute]) -> Iterator[tuple[str, str]]:
    for route in found:
        assert isinstance(route, APIRoute | Route), f"what is {route!r}?"
        for method in (route.methods or set()) - {"HEAD"}:
            yield method, route.path


def fill(path: str) -> str:
    return re.sub(r"{\w+}", "1", path)


def test_every_route_except_the_open_ones_needs_a_key(bot: Bot) -> None:
    asked = [r for r in routes(bot) if r not in OPEN | LOCAL]
    assert len(asked) >= 20

    fields = {"name": "x", "role": "admin", "person": "x", "version": "2", "decision": "skip"}
    fields["response"] = "x"
    form = {"headers": {"Origin": bot.url}, "data": fields}
    statuses = {
        (method, path): bot.http()
        .request(method, fill(path), **(form if path.startswith("/console") else {}))
        .status_code
        for method, path in asked
    }

    assert {r: s for r, s in statuses.items() if s != 401} == {}


def test_members_may_use_only_the_member_routes(bot: Bot) -> None:
    asked = [r for r in routes(bot) if r[1].startswith("/v1") and r not in MEMBERS]

    statuses = {
        (method, path): bot.http("member").request(method, fill(path), json={}).status_code
        for method, path in asked
    }

    assert len(statuses) >= 13
    assert {r: s for r, s in statuses.items() if s != 403} == {}


def test_reviewers_may_not_use_the_admin_routes(bot: Bot) -> None:
    asked = [r for r in routes(bot) if r[1].startswith("/v1") and r not in MEMBERS | REVIEWERS]

    statuses = {
        (method, path): bot.http("reviewer").request(method, fill(path), json={}).status_code
        for method, path in asked
    }

    assert len(statuses) >= 6
    assert {r: s for r, s in statuses.items() if s != 403} == {}


def test_a_revoked_key_stops_working_at_once(bot: Bot) -> None:
    from data.people import keys

    client = bot.http("member")
    assert client.get("/v1/models").status_code == 200
    bot.write(lambda db: keys.revoke(db, 1, "cli:test"))

    assert client.get("/v1/models").status_code == 401


@pytest.mark.parametrize("path", ["/", "/health", "/v1/models", "/nothing"])
def test_every_response_has_the_security_headers(bot: Bot, path: str) -> None:
    headers = bot.http().get(path).headers

    assert "default-src 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["x-request-id"].startswith("req-")
    assert "server" not in headers


def test_without_the_web_chat_its_routes_do_not_exist(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    from data.config.settings import BotSettings

    settings = Settings(bot=BotSettings(web_chat=False))
    with Store(tmp_path_factory.mktemp("home") / "understudy.db") as store:
        paths = {path for _, path in _flat(create_app(settings, store).routes)}

    assert "/health" in paths
    shared = {"/web/chat.css", "/web/icon.svg", "/web/theme.css"}
    assert {p for p in paths if p.startswith("/web")} == shared
    assert "/" not in paths
