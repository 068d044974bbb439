"""Signing in to the console with a link, and sessions that end."""

import html
import re

import httpx

from data.people import console_sessions, sign_in_links
from data.people.roles import Role
from data.store.db import rows
from tests.bot.conftest import Bot
from tests.bot.console.signed_in import client

PATH = "/console/sign-in"


def browser(bot: Bot) -> httpx.Client:
    """A browser in which nobody is signed in."""
    found = bot.http(follow_redirects=True)
    found.headers["Origin"] = bot.url
    return found


def link(bot: Bot, role: Role = "admin") -> str:
    return str(bot.write(lambda db: sign_in_links.create(db, "ann", role, "cli:root"))[1])


def fields(page: str) -> dict[str, str]:
    """The fields of the forms of a page, by name."""
    inputs = re.findall(r'name="(\w+)" value="([^"]*)"', page)
    areas = re.findall(r'<textarea name="(\w+)"[^>]*>(.*?)</textarea>', page, re.DOTALL)
    return {name: html.unescape(value) for name, value in [*inputs, *areas]}


def test_a_link_shows_who_signs_in_and_is_used_by_the_button(bot: Bot) -> None:
    secret, visitor = link(bot), browser(bot)
    for _ in range(2):  # as chat programs do for a preview
        page = visitor.get(PATH, params={"link": secret})
        assert page.status_code == 200
        assert "Sign in as ann" in page.text
    assert visitor.get("/console").status_code == 401

    signed_in = visitor.post(PATH, data=fields(page.text))

    assert signed_in.url.path == "/console"
    assert signed_in.status_code == 200
    assert visitor.get("/console/people").status_code == 200
    again = browser(bot).post(PATH, data={"link": secret})
    assert again.status_code == 403
    assert "not valid" in again.text
    assert "Sign-in link" in again.text


def test_a_whole_link_may_be_pasted(bot: Bot) -> None:
    whole = f" https://bot.example.com/x{PATH}?link={link(bot, 'member')} \n"
    page = browser(bot).post(PATH, data={"link": whole})

    assert page.url.path == "/console"
    assert "ann</a>" in page.text


def test_the_cookie_is_out_of_reach_of_scripts(bot: Bot) -> None:
    visitor = bot.http()
    for https in (False, True):
        sent = {"Origin": bot.url} | ({"X-Forwarded-Proto": "https"} if https else {})
        cookie = visitor.post(PATH, data={"link": link(bot)}, headers=sent).headers["set-cookie"]
        assert cookie.startswith("__Host-understudy_console=" if https else "understudy_console=")
        assert ("Secure" in cookie) == https
        assert "HttpOnly" in cookie
        assert "SameSite=lax" in cookie


def test_over_https_browsers_obey_the_deletion_of_a_cookie(bot: Bot) -> None:
    """They ignore it for a cookie with `__Host-` that is not secure."""
    visitor = bot.http()
    visitor.headers.update({"Origin": bot.url, "X-Forwarded-Proto": "https"})
    cookie = visitor.post(PATH, data={"link": link(bot)}).headers["set-cookie"].split(";")[0]
    signed_out = visitor.post("/console/sign-out", headers={"Cookie": cookie})
    said = next(c for c in signed_out.headers.get_list("set-cookie") if "_said" in c)
    told = visitor.get(PATH, headers={"Cookie": said.split(";")[0]})
    assert "You are signed out." in told.text

    sent = [*signed_out.headers.get_list("set-cookie"), *told.headers.get_list("set-cookie")]
    gone = [c for c in sent if "Max-Age=0" in c]
    assert [c.split("=")[0] for c in gone] == [
        "__Host-understudy_console",
        "__Host-understudy_said",
    ]
    assert all("; Secure" in c and "Path=/" in c for c in gone)


def test_signing_out_ends_the_session_at_the_server(bot: Bot) -> None:
    visitor = client(bot)
    cookie = visitor.cookies["understudy_console"]

    page = visitor.post("/console/sign-out")

    assert "You are signed out." in page.text
    assert "understudy_console" not in visitor.cookies
    assert browser(bot).get("/console", cookies={"understudy_console": cookie}).status_code == 401


def test_only_own_sessions_can_be_ended_by_members(bot: Bot) -> None:
    ann, bob = client(bot, "member", "ann"), client(bot, "member", "bob")
    other = client(bot, "member", "ann")
    sessions = bot.store.db.execute(
        "SELECT id, person FROM console_sessions ORDER BY id"
    ).fetchall()
    assert [person for _, person in sessions] == ["user:ann", "user:bob", "user:ann"]

    assert ann.post("/console/account/sessions/2/end").status_code == 404
    assert bob.get("/console").status_code == 200
    assert "Firefox on Linux" in ann.post("/console/account/sessions/3/end").text
    assert other.get("/console").status_code == 401


def end_sessions(bot: Bot) -> None:
    for session in console_sessions.list_sessions(bot.store.db):
        bot.write(lambda db, s=session: console_sessions.end(db, s.id, "cli:root"))


def test_a_form_survives_the_end_of_the_session_without_scripts(bot: Bot) -> None:
    visitor = client(bot)
    end_sessions(bot)
    typed = {"name": "Zoë <b>\u202e", "role": "reviewer"}

    refused = visitor.post("/console/people/invite", data=typed)
    assert refused.status_code == 401
    assert "Your session has ended" in refused.text
    kept = fields(refused.text)["kept"]
    back = visitor.post(PATH, data={"link": link(bot), "kept": kept})
    assert fields(back.text) == typed
    assert 'action="/console/people/invite"' in back.text
    done = visitor.post("/console/people/invite", data=fields(back.text))

    assert done.status_code == 400  # the name is not printable: it came back unchanged
    assert rows(bot.store.db, "SELECT person FROM sign_in_links WHERE used_at IS NULL") == []
    assert fields(done.text) == typed


def test_what_was_entered_can_be_sent_after_signing_in_elsewhere(bot: Bot) -> None:
    visitor = client(bot)
    end_sessions(bot)
    refused = visitor.post("/console/people/invite", data={"name": "zoe", "role": "reviewer"})
    visitor.cookies.clear()
    visitor.cookies.update(client(bot).cookies)

    done = visitor.post("/console/people/invite", data=fields(refused.text))

    assert "Send this link to zoe" in done.text


def test_only_forms_of_the_console_are_kept(bot: Bot) -> None:
    others = ('["https://evil.example/console/", []]', '["/v1/x", []]', "{", '["/console/x", 1]')
    for kept in others:
        page = browser(bot).post(PATH, data={"link": link(bot), "kept": kept})
        assert page.url.path == "/console", kept


def test_an_error_of_a_form_with_scripts_replaces_only_the_message(bot: Bot) -> None:
    refused = client(bot).post(
        "/console/people/invite",
        data={"name": "a/b", "role": "member"},
        headers={"HX-Request": "true"},
    )

    assert refused.status_code == 400
    assert refused.headers["hx-retarget"] == "#said"
    assert refused.headers["hx-reselect"] == "#problem"
    assert "name or an e-mail address" in refused.text


def test_a_message_is_shown_once(bot: Bot) -> None:
    visitor = client(bot, name="ann")
    role = {"person": "user:bob", "role": "reviewer"}

    assert (
        "user:bob now has the role reviewer."
        in visitor.post("/console/people/role", data=role).text
    )
    assert "now has the role" not in visitor.get("/console/people").text


def test_a_message_of_somebody_else_is_not_shown(bot: Bot) -> None:
    visitor = client(bot)
    visitor.cookies.set("understudy_said", "not base64!")

    assert visitor.get("/console").status_code == 200


def test_everything_is_in_the_audit_log(bot: Bot) -> None:
    visitor = browser(bot)
    visitor.post(PATH, data={"link": link(bot)})
    visitor.post("/console/people/invite", data={"name": "bob", "role": "reviewer"})
    visitor.post("/console/people/links/2/revoke")
    visitor.post("/console/people/role", data={"person": "user:eve", "role": "reviewer"})
    visitor.post("/console/people/role", data={"person": "user:eve", "role": "member"})
    visitor.post("/console/sign-out")

    found = rows(bot.store.db, "SELECT actor, action FROM audit WHERE actor = 'user:ann'")
    assert [r["action"] for r in found] == [
        "sign in",
        "sign-in link",
        "sign-in link revoke",
        "grant role",
        "revoke role",
        "sign out",
    ]


def test_the_chat_leads_to_the_console_for_whoever_is_signed_in(bot: Bot) -> None:
    assert 'href="console"' in client(bot, "member").get("/").text
    assert 'href="console"' not in browser(bot).get("/").text


def test_the_last_admin_cannot_step_down(bot: Bot) -> None:
    refused = client(bot, "admin", "ann").post(
        "/console/people/role", data={"person": "user:ann", "role": "member"}
    )

    assert refused.status_code == 409
    assert "last admin" in refused.text


def test_it_works_behind_a_prefix(bot: Bot) -> None:
    visitor = browser(bot)
    visitor.headers["X-Forwarded-Prefix"] = "/bot"
    visitor.follow_redirects = False
    assert 'action="/bot/console/sign-in"' in visitor.get("/console").text

    sent = visitor.post(PATH, data={"link": link(bot)})

    assert sent.headers["location"] == "/bot/console"
    assert "understudy_console" not in visitor.cookies  # it has a name of its own there
    assert 'href="/bot/console/people"' in visitor.get("/console").text
    form = {"name": "bob", "role": "member"}
    invited = visitor.post("/console/people/invite", data=form).text
    assert f"{bot.url}/bot/console/sign-in?link=" in invited
