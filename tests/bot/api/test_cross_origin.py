"""CORS: what a browser learns when another site's page calls the API."""

from typing import Any

import pytest

from data.config.settings import BotSettings
from tests.bot.conftest import Bot

SITE = "https://app.example.com"
ASKS = {
    "Origin": SITE,
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization,content-type,x-stainless-os",
}


class TestOff:
    def test_without_the_setting_nothing_is_opened(self, bot: Bot) -> None:
        asked = bot.http().options("/v1/chat/completions", headers=ASKS)
        answer = bot.http("member").get("/v1/models", headers={"Origin": SITE})

        assert asked.status_code == 405
        assert not [n for n in (*asked.headers, *answer.headers) if n.startswith("access-control")]


class TestOneSite:
    @pytest.fixture
    def bot_settings(self) -> dict[str, Any]:
        return {"allowed_origins": (SITE,)}

    def test_a_preflight_needs_no_key(self, bot: Bot) -> None:
        answer = bot.http().options("/v1/chat/completions", headers=ASKS)

        assert answer.status_code == 204
        assert answer.headers["access-control-allow-origin"] == SITE
        assert "POST" in answer.headers["access-control-allow-methods"]
        wanted = ASKS["Access-Control-Request-Headers"]
        assert answer.headers["access-control-allow-headers"] == wanted
        assert answer.headers["vary"] == "Origin"
        assert "access-control-allow-credentials" not in answer.headers

    def test_an_answer_and_an_error_can_be_read(self, bot: Bot) -> None:
        for role, status in (("member", 200), ("", 401)):
            answer = bot.http(role).get("/v1/models", headers={"Origin": SITE})

            assert answer.status_code == status
            assert answer.headers["access-control-allow-origin"] == SITE
            assert "X-Understudy-Adapter" in answer.headers["access-control-expose-headers"]

    def test_another_site_is_shut_out(self, bot: Bot) -> None:
        for origin in ("https://evil.example", f"{SITE}.evil.example", "null"):
            asked = bot.http().options("/v1/chat/completions", headers=ASKS | {"Origin": origin})
            answer = bot.http("member").get("/v1/models", headers={"Origin": origin})

            assert asked.status_code == 403
            assert "allowed_origins" in asked.json()["error"]["message"]
            assert "access-control-allow-origin" not in (*asked.headers, *answer.headers)
            assert answer.headers["vary"] == "Origin"  # a cache keeps the two apart

    def test_only_the_api_is_opened(self, bot: Bot) -> None:
        for path in ("/web/ask", "/", "/health", "/metrics"):
            asked = bot.http().options(path, headers=ASKS)

            assert asked.status_code == 405
            assert "access-control-allow-origin" not in asked.headers

    def test_odd_header_names_are_not_repeated(self, bot: Bot) -> None:
        odd = ASKS | {"Access-Control-Request-Headers": 'a<script>, "b'}

        answer = bot.http().options("/v1/models", headers=odd)

        assert "access-control-allow-headers" not in answer.headers


class TestEverySite:
    @pytest.fixture
    def bot_settings(self) -> dict[str, Any]:
        return {"allowed_origins": ("*",)}

    def test_any_page_may_call_with_a_key_and_never_with_cookies(self, bot: Bot) -> None:
        answer = bot.http("member").get("/v1/models", headers={"Origin": "https://x.example"})

        assert answer.headers["access-control-allow-origin"] == "*"
        assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize("origin", ["app.example.com", "https://app.example.com/", "ftp://a"])
def test_a_setting_that_names_no_site_is_refused(origin: str) -> None:
    with pytest.raises(ValueError, match="is not a site such as"):
        BotSettings(allowed_origins=(origin,))
