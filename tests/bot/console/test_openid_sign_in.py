"""Signing in with an OpenID provider, a small real one on loopback."""

import dataclasses
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from pydantic import ValidationError

from bot.console import openid
from data.config.settings import OidcSettings
from data.people import console_sessions
from data.store.db import rows
from data.store.errors import Forbidden
from tests.bot.conftest import Bot, answering
from tests.bot.console.openid_provider import CLIENT, SECRET, OpenIdProvider, provider
from tests.serving.fake_vllm import FakeVllm

PATH = "/console/sign-in/oidc"
ANN = {"email": "Ann@Example.com", "email_verified": True}


@pytest.fixture
def idp() -> Iterator[OpenIdProvider]:
    with provider() as subject:
        yield subject


@pytest.fixture
def bot(tmp_path: Path, vllm: FakeVllm, idp: OpenIdProvider) -> Iterator[Bot]:
    settings = OidcSettings(
        issuer=idp.issuer,
        client_id=CLIENT,
        client_secret=SECRET,  # type: ignore[arg-type]
        name="Example",
        email_domains=("example.com",),
    )
    with answering(tmp_path, vllm, oidc=settings) as subject:
        yield subject


def browser(bot: Bot) -> httpx.Client:
    return bot.http(follow_redirects=True)


def test_whoever_the_provider_signs_in_is_signed_in(bot: Bot, idp: OpenIdProvider) -> None:
    idp.claims = ANN
    visitor = browser(bot)
    assert "Sign in with Example" in visitor.get("/console").text

    page = visitor.get(PATH)

    assert page.url.path == "/console"
    assert "ann@example.com</a>" in page.text
    (session,) = console_sessions.list_sessions(bot.store.db)
    assert session.person == "user:ann@example.com"
    assert visitor.get("/console/people").status_code == 403  # roles are granted here
    entries = rows(bot.store.db, "SELECT actor, action FROM audit ORDER BY id DESC LIMIT 1")
    assert entries == [{"actor": "user:ann@example.com", "action": "sign in"}]
    assert "understudy_oidc" not in visitor.cookies


@pytest.mark.parametrize(
    ("claims", "changed", "refused"),
    [
        ({**ANN, "email": "eve@evil.example"}, {}, "may not sign in here"),
        ({"email": "ann@example.com"}, {}, "may not sign in here"),
        (ANN, {"nonce": "another"}, "not for this attempt"),
        (ANN, {"aud": "somebody else"}, "not for this attempt"),
        (ANN, {"aud": [CLIENT, "somebody else"]}, "not for this attempt"),
        (ANN, {"iss": "https://evil.example"}, "not for this attempt"),
        (ANN, {"exp": int(time.time()) - 3_600}, "not for this attempt"),
    ],
)
def test_a_wrong_answer_signs_nobody_in(
    bot: Bot,
    idp: OpenIdProvider,
    claims: dict[str, object],
    changed: dict[str, object],
    refused: str,
) -> None:
    idp.claims, idp.changed = claims, changed

    page = browser(bot).get(PATH)

    assert page.status_code == 403
    assert refused in page.text
    assert console_sessions.list_sessions(bot.store.db) == []


def test_an_answer_works_only_in_the_browser_that_asked(bot: Bot, idp: OpenIdProvider) -> None:
    """Otherwise somebody could sign another one in as themselves, and read what they ask."""
    idp.claims = ANN
    mine = bot.http()
    sent = httpx.get(mine.get(PATH).headers["location"]).headers["location"]
    assert browser(bot).get(sent).status_code == 403
    mine.cookies.set("understudy_oidc", "forged.0000", domain="127.0.0.1")
    assert mine.get(sent).status_code == 403

    idp.refuses = "access_denied"
    refused = browser(bot).get(PATH)
    assert refused.status_code == 403
    assert "You were not signed in with Example: access_denied." in refused.text
    idp.refuses, idp.codes = "", {}
    again = bot.http()
    answer = httpx.get(again.get(PATH).headers["location"]).headers["location"]
    idp.codes.clear()  # as if it had been used
    late = again.get(answer)
    assert late.status_code == 503
    assert "invalid_grant" in late.text


@pytest.mark.parametrize("says", ["<h1>Bad gateway</h1>", "[" * 100_000, "{}", "x" * 1_100_000])
def test_a_provider_that_is_broken_is_named(bot: Bot, idp: OpenIdProvider, says: str) -> None:
    idp.says = says

    page = browser(bot).get(PATH)

    assert page.status_code == 503
    assert f"{idp.issuer}/.well-known/openid-configuration" in page.text
    assert "Expecting value" not in page.text


def test_slack_members_are_the_same_person_as_in_slack() -> None:
    slack = OidcSettings(
        issuer="https://slack.com/",
        client_id="1.2",
        client_secret="x",  # type: ignore[arg-type]
    )
    claims = {"https://slack.com/team_id": "T1", "https://slack.com/user_id": "U2"}

    assert openid.person_of_claims(slack, claims) == "slack:T1/U2"
    other = slack.model_copy(update={"issuer": "https://evil.example"})
    with pytest.raises(Forbidden):
        openid.person_of_claims(other, claims)  # only Slack says who is in Slack
    trusting = other.model_copy(update={"trust_email": True})
    assert openid.person_of_claims(trusting, {"email": "B@x.org"}) == "user:b@x.org"


def test_an_issuer_without_tls_is_refused() -> None:
    with pytest.raises(ValidationError, match="https://"):
        OidcSettings(issuer="http://login.example.com", client_id="a")
    with pytest.raises(ValidationError, match="https://"):
        OidcSettings(issuer="http://localhost.example.com", client_id="a")
    with pytest.raises(ValidationError, match="client_secret"):
        OidcSettings(issuer="https://login.example.com", client_id="a")


def test_without_a_provider_there_is_no_such_page(tmp_path: Path, vllm: FakeVllm) -> None:
    with answering(tmp_path, vllm) as subject:
        assert subject.http().get(PATH).status_code == 404
        assert subject.http().get(f"{PATH}/callback").status_code == 404
        assert "Sign in with" not in subject.http().get("/console").text


def test_an_attempt_survives_its_cookie() -> None:
    attempt = openid.new_attempt()

    assert openid.OpenIdAttempt.unpacked(attempt.packed) == attempt
    assert len(set(dataclasses.astuple(attempt))) == 3
