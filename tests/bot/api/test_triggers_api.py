"""`/v1/triggers`: set and shown over HTTP."""

import pytest

from tests.bot.conftest import Bot


def test_triggers_are_set_and_shown(bot: Bot) -> None:
    given = {"settings": {"schedule": "0 3 * * 1", "time-zone": "Europe/Berlin", "pairs": "9"}}
    answer = bot.http("admin").post("/v1/triggers", json=given)
    assert (answer.status_code, answer.json()["settings"]["pairs"]) == (200, "9")
    (shown,) = bot.http("reviewer").get("/v1/triggers?domain=helpdesk").json()["data"]
    assert shown["settings"] == given["settings"] | {"then": "ask"}
    assert [t["trigger"] for t in shown["triggers"]] == ["schedule", "pairs"]
    assert shown["sentences"]


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ({"settings": {"speed": "1"}}, 400),
        ({"settings": {"pairs": 3}}, 422),
        ({"settings": {"pairs": "3"}, "domain": "nowhere"}, 404),
        ({"pairs": "3"}, 422),
    ],
)
def test_a_wrong_setting_is_refused(bot: Bot, given: dict[str, object], status: int) -> None:
    answer = bot.http("admin").post("/v1/triggers", json=given)
    assert answer.status_code in (status, 400, 422)
    assert "error" in answer.json()
    (shown,) = bot.http("reviewer").get("/v1/triggers?domain=helpdesk").json()["data"]
    assert "pairs" not in shown["settings"]


def test_only_admins_set_triggers(bot: Bot) -> None:
    given = {"settings": {"pairs": "3"}}
    assert bot.http("reviewer").post("/v1/triggers", json=given).status_code == 403
    assert bot.http("member").get("/v1/triggers").status_code == 403
