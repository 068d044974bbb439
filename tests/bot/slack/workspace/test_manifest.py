"""The manifest requests what the code uses, and nothing else."""

import ast
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from slack_sdk.web.async_client import AsyncWebClient

from bot.slack import app as front
from bot.slack.workspace import manifest as made
from bot.slack.workspace.manifest import EVENTS, METHODS, manifest
from data.store.errors import Invalid

SOURCES = sorted((Path(front.__file__).parent).rglob("*.py"))
ALIASES = {"auth_test": "auth.test"}


class Registered:
    """Records the listeners in place of Bolt."""

    def __init__(self) -> None:
        self.found: dict[str, set[str]] = {}

    def __getattr__(self, kind: str) -> Any:
        def register(name: str) -> Any:
            self.found.setdefault(kind, set()).add(name)
            return lambda listener: listener

        return register


@pytest.fixture
def registered() -> dict[str, set[str]]:
    taker = Registered()
    front.register(taker, SimpleNamespace(at=None))  # type: ignore[arg-type]
    return taker.found


def called() -> set[str]:
    """The Web API methods that the code names, in Slack's spelling."""
    known = {n for n in dir(AsyncWebClient) if "_" in n and not n.startswith("_")}
    found = set()
    for source in SOURCES:
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and node.attr in known:
                found.add(node.attr.replace("_", "."))
    return found - {"base.url", "api.call"}


def test_the_events_match_the_listeners(registered: dict[str, set[str]]) -> None:
    assert {name.split(".")[0] for name in EVENTS} == registered["event"]
    assert manifest(None)["settings"]["event_subscriptions"]["bot_events"] == sorted(EVENTS)


def test_the_command_matches_the_listener(registered: dict[str, set[str]]) -> None:
    commands = manifest(None)["features"]["slash_commands"]
    assert {c["command"] for c in commands} == registered["command"]


def test_the_shortcut_matches_the_listener(registered: dict[str, set[str]]) -> None:
    shortcuts = manifest(None)["features"]["shortcuts"]
    assert {s["callback_id"] for s in shortcuts} == registered["message_shortcut"]
    assert {s["type"] for s in shortcuts} == {"message"}
    assert all(len(s["name"]) <= 24 and len(s["description"]) <= 150 for s in shortcuts)
    assert manifest(None)["features"]["app_home"]["home_tab_enabled"] is True


def test_it_uses_the_agent_view_of_new_apps() -> None:
    """https://docs.slack.dev: `agent_view` replaced `assistant_view`."""
    features = manifest(None)["features"]
    assert features["agent_view"]["agent_description"]
    assert "assistant_view" not in features
    assert features["app_home"]["messages_tab_enabled"] is True
    assert features["app_home"]["messages_tab_read_only_enabled"] is False


def test_the_methods_match_the_calls() -> None:
    assert set(METHODS) == called()


def test_the_scopes_match_the_events_and_methods() -> None:
    assert manifest(None)["oauth_config"]["scopes"]["bot"] == [
        "app_mentions:read",
        "assistant:write",
        "channels:history",
        "chat:write",
        "commands",
        "files:read",
        "files:write",
        "groups:history",
        "im:history",
        "mpim:history",
        "reactions:read",
        "usergroups:read",
        "users:read",
    ]


def test_without_a_url_it_is_for_socket_mode() -> None:
    plain = manifest(None)
    assert plain["settings"]["socket_mode_enabled"] is True
    assert "request_url" not in json.dumps(plain)


@pytest.mark.parametrize(
    "url", ["https://bot.example", "https://bot.example/", "https://bot.example/slack/events"]
)
def test_with_a_url_all_requests_go_there(url: str) -> None:
    found = manifest(url)
    address = "https://bot.example" + made.PATH
    assert found["settings"]["socket_mode_enabled"] is False
    assert found["settings"]["event_subscriptions"]["request_url"] == address
    assert found["settings"]["interactivity"]["request_url"] == address
    assert found["features"]["slash_commands"][0]["url"] == address


def test_for_several_workspaces_it_has_the_redirect_url() -> None:
    found = manifest("https://bot.example", oauth=True)
    assert found["oauth_config"]["redirect_urls"] == ["https://bot.example/slack/oauth_redirect"]
    assert "redirect_urls" not in manifest("https://bot.example")["oauth_config"]
    with pytest.raises(Invalid, match="--url"):
        manifest(None, oauth=True)


@pytest.mark.parametrize(
    "url", ["", "http://bot.example", "bot.example", "https://", "https://a b"]
)
def test_a_url_that_slack_cannot_reach_is_refused(url: str) -> None:
    with pytest.raises(Invalid, match="https"):
        manifest(url)


def test_it_stays_within_slacks_limits() -> None:
    found = manifest(None)
    assert len(found["display_information"]["name"]) <= 35
    assert len(found["display_information"]["description"]) <= 140
    assert all(len(c["description"]) <= 2_000 for c in found["features"]["slash_commands"])
    assert all(len(c["usage_hint"]) <= 1_000 for c in found["features"]["slash_commands"])
