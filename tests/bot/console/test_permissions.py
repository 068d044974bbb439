"""Who may do what in the console. A route that is missing in the table fails."""

import httpx
import pytest

from data.people.roles import ROLES, Role, at_least
from data.store.db import rows
from tests.bot.api.test_routes import OPEN, fill, routes
from tests.bot.conftest import Bot
from tests.bot.console.signed_in import client

CONSOLE: dict[tuple[str, str], Role] = {
    ("GET", "/console"): "member",
    ("GET", "/console/"): "member",
    ("GET", "/console/{rest:path}"): "member",
    ("GET", "/console/account"): "member",
    ("POST", "/console/sign-out"): "member",
    ("POST", "/console/account/sessions/{session_id}/end"): "member",
    ("GET", "/console/start"): "admin",
    ("POST", "/console/start"): "admin",
    ("GET", "/console/domains/{domain}/pairs"): "reviewer",
    ("POST", "/console/domains/{domain}/pairs/bulk"): "reviewer",
    ("POST", "/console/domains/{domain}/pairs/bulk/{batch}/undo"): "reviewer",
    ("GET", "/console/domains/{domain}/pairs/facts"): "reviewer",
    ("GET", "/console/domains/{domain}/pairs/export"): "reviewer",
    ("GET", "/console/domains/{domain}/pairs/export/file"): "reviewer",
    ("GET", "/console/domains/{domain}/pairs/findings"): "reviewer",
    ("POST", "/console/domains/{domain}/pairs/findings/check"): "reviewer",
    ("POST", "/console/domains/{domain}/pairs/findings/undo"): "admin",
    ("POST", "/console/domains/{domain}/pairs/findings/{check_name}/fix"): "admin",
    ("GET", "/console/domains/{domain}/pairs/golden"): "reviewer",
    ("POST", "/console/domains/{domain}/pairs/golden"): "admin",
    ("POST", "/console/domains/{domain}/pairs/golden/{pair_id}/release"): "admin",
    ("GET", "/console/domains/{domain}/pairs/imports"): "reviewer",
    ("POST", "/console/domains/{domain}/pairs/imports"): "admin",
    ("GET", "/console/domains/{domain}/pairs/imports/files/{file_id}"): "admin",
    ("POST", "/console/domains/{domain}/pairs/imports/files/{file_id}/preview"): "admin",
    ("POST", "/console/domains/{domain}/pairs/imports/files/{file_id}/import"): "admin",
    ("POST", "/console/domains/{domain}/pairs/imports/files/{file_id}/discard"): "admin",
    ("POST", "/console/domains/{domain}/pairs/imports/{number}/undo"): "admin",
    ("GET", "/console/domains/{domain}/pairs/{pair_id}"): "reviewer",
    ("POST", "/console/domains/{domain}/pairs/{pair_id}"): "reviewer",
    ("POST", "/console/domains/{domain}/pairs/{pair_id}/unmask"): "reviewer",
    ("GET", "/console/domains/{domain}/review"): "reviewer",
    ("POST", "/console/domains/{domain}/review/{pair_id}"): "reviewer",
    ("POST", "/console/domains/{domain}/review/{pair_id}/undo"): "reviewer",
    ("GET", "/console/domains/{domain}/unanswered"): "reviewer",
    ("POST", "/console/domains/{domain}/unanswered/{group_id}/answer"): "reviewer",
    ("POST", "/console/domains/{domain}/unanswered/{group_id}/dismiss"): "reviewer",
    ("GET", "/console/domains/{domain}/tune"): "reviewer",
    ("POST", "/console/domains/{domain}/tune"): "admin",
    ("GET", "/console/runs/{run_id}"): "reviewer",
    ("POST", "/console/runs/{run_id}/cancel"): "admin",
    ("POST", "/console/domains/{domain}/import"): "admin",
    ("GET", "/console/domains/{domain}/versions"): "reviewer",
    ("GET", "/console/domains/{domain}/versions/{version}"): "reviewer",
    ("POST", "/console/domains/{domain}/versions/rollback"): "admin",
    ("POST", "/console/domains/{domain}/versions/{version}/promote"): "admin",
    ("POST", "/console/domains/{domain}/versions/{version}/retire"): "admin",
    ("POST", "/console/domains/{domain}/versions/{version}/accept"): "admin",
    ("POST", "/console/domains/{domain}/versions/{version}/compare"): "admin",
    ("POST", "/console/domains/{domain}/versions/stop"): "admin",
    ("GET", "/console/domains/{domain}/comparisons"): "reviewer",
    ("POST", "/console/domains/{domain}/comparisons"): "admin",
    ("POST", "/console/domains/{domain}/comparisons/policy"): "admin",
    ("GET", "/console/domains/{domain}/side-by-side"): "reviewer",
    ("POST", "/console/domains/{domain}/side-by-side"): "reviewer",
    ("GET", "/console/comparisons/{experiment_id}"): "reviewer",
    ("GET", "/console/comparisons/{experiment_id}/decisions/{decision_id}"): "reviewer",
    ("POST", "/console/comparisons/{experiment_id}/ramp"): "admin",
    ("POST", "/console/comparisons/{experiment_id}/testers"): "admin",
    ("POST", "/console/comparisons/{experiment_id}/stop"): "admin",
    ("POST", "/console/comparisons/{experiment_id}/promote"): "admin",
    ("POST", "/console/comparisons/{experiment_id}/roll-back"): "admin",
    ("POST", "/console/comparisons/{experiment_id}/raters"): "admin",
    ("GET", "/console/domains/{domain}/conversations"): "reviewer",
    ("GET", "/console/domains/{domain}/conversations/{reply_id}"): "reviewer",
    ("GET", "/console/domains/{domain}/triggers"): "reviewer",
    ("POST", "/console/domains/{domain}/triggers"): "admin",
    ("GET", "/console/keys"): "admin",
    ("POST", "/console/keys"): "admin",
    ("POST", "/console/keys/{key_id}/people"): "admin",
    ("POST", "/console/keys/{key_id}/revoke"): "admin",
    ("GET", "/console/system"): "admin",
    ("POST", "/console/system/backup"): "admin",
    ("GET", "/console/audit"): "admin",
    ("GET", "/console/people"): "admin",
    ("GET", "/console/people/data"): "admin",
    ("GET", "/console/people/data/export"): "admin",
    ("POST", "/console/people/data/learning"): "admin",
    ("POST", "/console/people/data/forget"): "admin",
    ("POST", "/console/people/invite"): "admin",
    ("POST", "/console/people/role"): "admin",
    ("POST", "/console/people/links/{link_id}/revoke"): "admin",
    ("POST", "/console/people/sessions/{session_id}/end"): "admin",
}
FORM = {"name": "eve", "person": "user:eve", "role": "admin", "version": "2"}
FORM |= {"decision": "skip", "response": "So."}


def send(browser: httpx.Client, route: tuple[str, str]) -> httpx.Response:
    method, path = route
    form = FORM if method == "POST" else None
    return browser.request(method, fill(path), data=form, follow_redirects=False)


def test_the_table_names_every_route(bot: Bot) -> None:
    found = {r for r in routes(bot) if r[1].startswith("/console") and r not in OPEN}
    assert found == set(CONSOLE)


@pytest.mark.parametrize("role", ROLES)
def test_a_role_may_do_what_it_may_and_nothing_else(bot: Bot, role: Role) -> None:
    refused = {r for r in CONSOLE if not at_least(role, CONSOLE[r])}
    browser = client(bot, role)
    statuses = {r: send(browser, r).status_code for r in refused}
    assert {r: s for r, s in statuses.items() if s != 403} == {}
    assert bot.store.db.execute("SELECT count(*) FROM sign_in_links").fetchone() == (0,)
    for route in set(CONSOLE) - refused:
        assert send(client(bot, role), route).status_code not in (401, 403), route


def test_a_role_that_was_revoked_no_longer_counts(bot: Bot) -> None:
    browser = client(bot, "admin")
    assert browser.get("/console/people").status_code == 200
    bot.write(lambda db: db.execute("DELETE FROM roles"))

    refused = browser.get("/console/people")

    assert refused.status_code == 403
    assert "Only admins can do that" in refused.text


def test_forms_of_other_sites_are_refused(bot: Bot) -> None:
    browser = client(bot, "admin")
    del browser.headers["Origin"]
    before = rows(bot.store.db, "SELECT * FROM audit")
    for headers in (
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {},
    ):
        for method, path in CONSOLE:
            if method == "POST":
                refused = browser.post(fill(path), data=FORM, headers=headers)
                assert refused.status_code == 403, (path, headers)
                # one click on a page of ours would send what the other site had filled in
                assert "<form" not in refused.text, (path, headers)
                assert "eve" not in refused.text, (path, headers)
    assert rows(bot.store.db, "SELECT * FROM audit") == before


def test_pages_are_not_served_under_a_foreign_name(bot: Bot) -> None:
    refused = client(bot).get("/console", headers={"Host": "evil.example"})

    assert refused.status_code == 403
    assert "allowed_hosts" in refused.text


def test_pages_carry_no_inline_script_or_style_and_are_not_stored(bot: Bot) -> None:
    browser = client(bot, "admin")
    for method, path in CONSOLE:
        if method == "GET":
            page = browser.get(fill(path))
            assert page.headers["cache-control"] == "no-store"
            for inline in ("<script>", "<style", "style=", " onclick", "hx-on", "javascript:"):
                assert inline not in page.text, path
