"""A store that cannot be opened any more: who asks learns that, in JSON, and no path."""

import threading
from pathlib import Path

import pytest

from bot import app
from data.store.db import Store
from tests.bot.conftest import answering
from tests.serving.fake_vllm import FakeVllm

CHAT = "/v1/chat/completions"
ASK = {"model": "helpdesk", "messages": [{"role": "user", "content": "Where?"}]}


def test_an_error_of_ours_shows_nobody_where_the_store_is(
    tmp_path: Path, vllm: FakeVllm, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []

    class Opened(Store):
        def __init__(self, path: Path) -> None:
            super().__init__(path)
            opened.append(self)

    monkeypatch.setattr(app, "Store", Opened)
    home = tmp_path / "home"
    with answering(home, vllm) as bot, bot.http("admin", timeout=20) as http:
        assert http.get("/v1/adapters").status_code == 200
        home.rename(tmp_path / "elsewhere")
        try:
            opened[0]._local = threading.local()  # as in new threads: they have no connection yet
            answers = [
                http.get("/v1/adapters"),
                http.get("/v1/runs"),
                http.post(CHAT, json=ASK),
                http.post(CHAT, json=ASK | {"stream": True}),
                http.post("/v1/feedback", json={"id": "r", "thumb": "up"}),
            ]
        finally:
            (tmp_path / "elsewhere").rename(home)
        streamed = answers.pop(3)
        for answer in answers:
            assert answer.status_code >= 500, answer.text
            assert "The store cannot be opened" in answer.json()["error"]["message"]
        assert "The store cannot be opened" in streamed.text
        for answer in (*answers, streamed):
            assert str(tmp_path) not in answer.text + str(answer.headers)
            assert "understudy.db" not in answer.text
