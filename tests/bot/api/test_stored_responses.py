"""`GET` and `DELETE /v1/responses/{id}`."""

from typing import Any

import openai
import pytest

from data.people import keys
from tests.bot.api.test_comparisons_api import start
from tests.bot.conftest import Bot
from tests.serving.fake_vllm import CUT, words


def at_rest(bot: Bot, word: str) -> bool:
    """Whether the word is in any file of the home folder: the store or its write-ahead log."""
    files = [f for f in bot.settings.home.rglob("*") if f.is_file()]
    assert bot.settings.store_path in files
    return any(word.encode() in f.read_bytes() for f in files)


def test_a_response_comes_back_as_it_was(bot: Bot) -> None:
    bot.vllm.say = lambda body: words(body["model"], "One", " job.", usage=(11, 4))
    client = bot.openai()
    first = client.responses.create(model="helpdesk", input="What is a run?", user="alice")
    second = client.responses.create(
        model="helpdesk", input="Why?", user="alice", previous_response_id=first.id
    )

    for given in (first, second):
        again = client.responses.retrieve(given.id)
        assert again.model_dump(exclude={"user"}) == given.model_dump(exclude={"user"})


def test_it_names_the_variant(bot: Bot) -> None:
    start(bot)
    client = bot.openai()
    given: Any = client.responses.create(model="helpdesk", input="What is a run?", user="alice")

    again: Any = client.responses.retrieve(given.id)

    assert given.understudy["variant"] in ("A", "B")
    assert again.understudy == given.understudy


def test_an_answer_that_failed_says_so(bot: Bot) -> None:
    bot.vllm.say = lambda body: [*words(body["model"], "One")[:1], CUT]
    with pytest.raises(openai.InternalServerError):
        bot.openai().responses.create(model="helpdesk@1", input="What is a run?")
    (reply,) = bot.wait_closed()

    response = bot.openai().responses.retrieve(reply.id)

    assert response.status == "failed"
    assert response.error is not None


def test_the_words_of_a_deleted_response_are_nowhere(bot: Bot) -> None:
    bot.vllm.say = lambda body: words(body["model"], "zebraanswer")
    client = bot.openai()
    given = client.responses.create(model="helpdesk", input="What is zebraquestion?")
    assert at_rest(bot, "zebraquestion")
    assert at_rest(bot, "zebraanswer")

    client.responses.delete(given.id)

    assert not at_rest(bot, "zebraquestion")
    assert not at_rest(bot, "zebraanswer")
    (reply,) = bot.replies()
    assert (reply.id, reply.status, reply.adapter_id) == (given.id, "done", 1)
    for gone in (client.responses.retrieve, client.responses.delete):
        with pytest.raises(openai.NotFoundError):
            gone(given.id)
    with pytest.raises(openai.BadRequestError, match="erased"):
        client.responses.create(model="helpdesk", input="Go on", previous_response_id=given.id)


def test_another_key_neither_sees_nor_deletes_it(bot: Bot) -> None:
    given = bot.openai().responses.create(model="helpdesk", input="My secret?")
    secret = bot.write(lambda db: keys.create(db, "other", "admin", "cli:test")[1])
    other = openai.OpenAI(api_key=secret, base_url=f"{bot.url}/v1", max_retries=0)

    for refused in (other.responses.retrieve, other.responses.delete):
        with pytest.raises(openai.NotFoundError):
            refused(given.id)

    assert bot.openai().responses.retrieve(given.id).output_text == "Hello there"


def test_nothing_is_found_of_a_response_that_was_not_stored(bot: Bot) -> None:
    given = bot.openai().responses.create(model="helpdesk", input="What is a run?", store=False)

    with pytest.raises(openai.NotFoundError):
        bot.openai().responses.retrieve(given.id)
