"""`understudy console`."""

import json

from data.people import console_sessions, roles, sign_in_links
from data.store.db import Store
from tests.bot.cli.conftest import Run


def test_a_printed_link_signs_in(run: Run, store: Store) -> None:
    url = run("console", "link", "ann@example.com", "--role", "reviewer").stdout.strip()

    address, _, secret = url.partition("?link=")
    assert address == "http://127.0.0.1:8080/console/sign-in"
    with store.write() as db:
        assert sign_in_links.use(db, secret).person == "user:ann@example.com"
    assert roles.granted(store.db, "user:ann@example.com") == "reviewer"


def test_the_address_that_browsers_use_can_be_given(run: Run) -> None:
    found = json.loads(
        run("console", "link", "ann", "--address", "https://bot.example.com/", "--json").stdout
    )

    assert found["link"].startswith("https://bot.example.com/console/sign-in?link=")
    assert (found["person"], found["role"]) == ("user:ann", "admin")


def test_a_session_can_be_listed_and_ended(run: Run, store: Store) -> None:
    assert run("console", "sessions").stdout.strip() == "Nobody is signed in."
    with store.write() as db:
        secret = console_sessions.begin(db, "user:ann", "Firefox on Linux")

    (listed,) = json.loads(run("console", "sessions", "--json").stdout)
    done = run("console", "sign-out", str(listed["id"]))

    assert done.stdout == "user:ann is signed out of Firefox on Linux.\n"
    assert console_sessions.find(store.db, secret) is None
    assert run("console", "sign-out", "99").exit_code == 1


def test_a_name_that_cannot_be_used_is_refused(run: Run) -> None:
    refused = run("console", "link", "a/b")

    assert refused.exit_code == 2
    assert "name or an e-mail address" in refused.stderr
