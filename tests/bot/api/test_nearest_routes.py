"""An address of the API that does not exist: the answer says what there is."""

from tests.bot.conftest import Bot

NEAREST = [
    ("/v1/chat/completion", "`POST /v1/chat/completions`"),
    ("/v1/v1/chat/completions", "`POST /v1/chat/completions`"),
    ("/v1/Responses/resp_1", "`POST /v1/responses`"),
    ("/v1/embedding", "`POST /v1/embeddings`"),
    ("/v1/model", "`GET /v1/models`"),
    ("/v1/images/generations", "`POST /v1/chat/completions`"),
    ("/v1", "`GET /v1/models`"),
    ("/chat/completions", "The API is under `/v1`: `POST /v1/chat/completions`"),
    ("/models", "The API is under `/v1`: `GET /v1/models`"),
]
HOSTILE = ["<script>alert(1)</script>", "%1b[31m", "chat/" * 1_000]


def test_the_nearest_routes_are_named(bot: Bot) -> None:
    client = bot.http("member")
    for path, named in NEAREST:
        answer = client.post(path, json={})

        assert answer.status_code == 404
        assert named in answer.json()["error"]["message"], path


def test_nothing_of_the_address_is_repeated(bot: Bot) -> None:
    client = bot.http()
    for path in ("/nothing", *(f"/v1/{each}" for each in HOSTILE)):
        answer = client.get(path)

        message = answer.json()["error"]["message"]
        assert answer.status_code == 404
        assert not set(message) & set("<>\x1b")
        assert "chat/chat" not in message
        assert len(message) < 300


def test_a_thing_that_is_missing_keeps_its_own_sentence(bot: Bot) -> None:
    answer = bot.http("member").get("/v1/models/gpt-4")

    assert "There is no model 'gpt-4'" in answer.json()["error"]["message"]
