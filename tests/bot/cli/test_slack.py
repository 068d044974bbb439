"""`understudy slack`."""

import json
from pathlib import Path

from bot.slack.client.token_encryption import TokenEncryption
from data.slack import installations
from data.slack.installations import Installation
from data.store.db import Store
from tests.bot.cli.conftest import Run


def test_the_manifest_is_json(run: Run) -> None:
    plain = json.loads(run("slack", "manifest").stdout)
    several = json.loads(
        run("slack", "manifest", "--url", "https://bot.example.org", "--oauth").stdout
    )

    assert plain["settings"]["socket_mode_enabled"] is True
    assert several["oauth_config"]["redirect_urls"] == [
        "https://bot.example.org/slack/oauth_redirect"
    ]


def test_each_key_is_different_and_works(run: Run) -> None:
    one, other = (run("slack", "key").stdout.strip() for _ in range(2))

    assert one != other
    assert TokenEncryption(one).open(TokenEncryption(one).seal("xoxb-1"), "T1") == "xoxb-1"


def test_installed_workspaces_are_listed_without_tokens(run: Run, store: Store) -> None:
    with store.write() as db:
        found = Installation("T1", "Sister Company", "UBOT", "BBOT", "U1")
        installations.keep(db, found, "sealed-token")

    shown = run("slack", "workspaces").stdout
    (listed,) = json.loads(run("slack", "workspaces", "--json").stdout)

    assert "Sister Company" in shown
    assert (listed["team"], listed["installed_by"]) == ("T1", "U1")
    assert "sealed-token" not in shown + json.dumps(listed)


def test_doctor_names_the_settings_that_several_workspaces_need(run: Run, home: Path) -> None:
    (home / "understudy.toml").write_text('[slack]\nmode = "http"\nclient_id = "1.2"\n')

    found = run("doctor").output

    for name in ("signing_secret", "client_secret", "token_key"):
        assert f"no {name}" in found
    assert "no bot_token" not in found
