"""Bodies that are compressed with gzip: unpacked within the same limit."""

import gzip
import json
import tracemalloc

import pytest

from bot.api.request_body import MAX_BODY, NotGzip, TooLarge, Unpacking
from tests.bot.conftest import Bot

BODY = json.dumps(
    {"model": "helpdesk", "messages": [{"role": "user", "content": "What is a run?"}]}
).encode()


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "x-gzip"])
def test_a_packed_question_is_answered(bot: Bot, encoding: str) -> None:
    answer = bot.http("member").post(
        "/v1/chat/completions", content=gzip.compress(BODY), headers={"Content-Encoding": encoding}
    )

    assert answer.status_code == 200
    assert bot.vllm.asked[0]["messages"][-1]["content"] == "What is a run?"


def test_routes_of_fastapi_unpack_as_well(bot: Bot) -> None:
    packed = gzip.compress(b'{"reply_id": "nothing", "thumb": "up"}')
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}

    answer = bot.http("member").post("/v1/feedback", content=packed, headers=headers)

    assert answer.status_code == 404
    assert answer.json()["error"]["message"] == "There is no reply 'nothing'."


def test_other_encodings_are_refused_with_a_sentence(bot: Bot) -> None:
    for encoding in ("br", "zstd", "deflate", "gzip, gzip"):
        answer = bot.http("member").post(
            "/v1/chat/completions", content=BODY, headers={"Content-Encoding": encoding}
        )

        assert answer.status_code == 415
        assert "gzip" in answer.json()["error"]["message"]
        assert answer.headers["accept-encoding"] == "gzip"


def test_what_is_not_gzip_is_the_callers_fault(bot: Bot) -> None:
    client = bot.http("member")
    for path in ("/v1/chat/completions", "/v1/feedback"):
        for content in (BODY, gzip.compress(BODY)[:-9]):
            answer = client.post(path, content=content, headers={"Content-Encoding": "gzip"})

            assert answer.status_code == 400
            assert "not valid gzip" in answer.json()["error"]["message"]


def test_a_small_body_that_unpacks_to_a_large_one_is_refused(bot: Bot) -> None:
    bomb = gzip.compress(b" " * 20_000_000, compresslevel=9)
    assert len(bomb) < 30_000

    answer = bot.http("member").post(
        "/v1/chat/completions", content=bomb, headers={"Content-Encoding": "gzip"}
    )

    assert answer.status_code == 413
    assert "1,000,000 bytes" in answer.json()["error"]["message"]


def test_a_bomb_takes_no_more_memory_than_the_limit() -> None:
    bomb = gzip.compress(b" " * 30_000_000, compresslevel=9)
    tracemalloc.start()
    try:
        with pytest.raises(TooLarge):
            Unpacking(MAX_BODY).add(bomb)
        assert tracemalloc.get_traced_memory()[1] < 4 * MAX_BODY
    finally:
        tracemalloc.stop()


def test_the_limit_is_exact_and_holds_for_all_members_together() -> None:
    half = gzip.compress(b"x" * 50)
    unpacking = Unpacking(100)

    assert unpacking.add(half + half) == b"x" * 100
    unpacking.end()
    with pytest.raises(TooLarge):
        unpacking.add(gzip.compress(b"y"))


def test_pieces_of_any_size_unpack_alike() -> None:
    unpacking = Unpacking(1000)
    packed = gzip.compress(BODY[:60]) + gzip.compress(BODY[60:])

    assert b"".join(unpacking.add(bytes([byte])) for byte in packed) == BODY
    unpacking.end()
    unpacking.add(packed[:5])
    with pytest.raises(NotGzip):
        unpacking.end()
