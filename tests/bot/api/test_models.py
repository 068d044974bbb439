"""What `/v1/models` says about each model."""

import time
from typing import Any

from data.adapters import registry
from tests.bot.conftest import Bot


def listed(bot: Bot) -> dict[str, Any]:
    return {m["id"]: m for m in bot.http("member").get("/v1/models").json()["data"]}


def test_a_model_was_created_when_its_adapter_was(bot: Bot) -> None:
    hour_ago = int(time.time()) - 3_600
    bot.write(
        lambda db: db.execute(
            "UPDATE adapters SET created_at = ? WHERE version = 1", [hour_ago * 1_000_000]
        )
    )

    found = listed(bot)

    assert found["helpdesk@1"]["created"] == found["helpdesk"]["created"] == hour_ago
    assert found["helpdesk@2"]["created"] > hour_ago
    assert found["helpdesk@base"]["created"] > hour_ago  # when the domain was added


def test_the_live_version_and_the_context_are_named(bot: Bot) -> None:
    found = listed(bot)

    assert found["helpdesk"]["understudy"]["live"] == "helpdesk@1"
    limit = bot.settings.serving.max_model_len
    assert {m["max_model_len"] for m in found.values()} == {limit}
    bot.write(lambda db: registry.promote(db, registry.get(db, "helpdesk@2"), "cli:test"))

    assert listed(bot)["helpdesk"]["understudy"]["live"] == "helpdesk@2"
    one = bot.http("member").get("/v1/models/helpdesk@2").json()
    assert one == listed(bot)["helpdesk@2"]
