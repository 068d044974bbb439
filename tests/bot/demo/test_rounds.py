"""The people who take part in the demo's comparison."""

from collections.abc import Callable
from typing import Any, cast

import pytest

from bot.demo import rounds
from bot.demo.client import Client, DemoAnswer
from data.store.errors import UnderstudyError


class Assigned:
    """A member's client; `variant_of` gives the adapter that answers the person of that number."""

    def __init__(self, variant_of: Callable[[int], str]) -> None:
        self.variant_of = variant_of
        self.votes: list[str] = []

    async def ask(self, model: str, question: str, user: str) -> DemoAnswer:
        adapter = self.variant_of(int(user.removeprefix("person-")))
        return DemoAnswer("", adapter, adapter, "stop")

    async def call(self, method: str, path: str, body: dict[str, Any]) -> None:
        self.votes.append(f"{body['reply_id']} {body['thumb']}")


async def taken_part(member: Assigned) -> dict[str, int]:
    return await rounds.take_part(cast(Client, member), "d", "d@1", "d@2")


async def test_more_people_follow_while_all_of_them_got_the_same_variant() -> None:
    member = Assigned(lambda number: "d@2" if number < rounds.PEOPLE else f"d@{number % 2 + 1}")

    assert await taken_part(member) == {"d@2": rounds.PEOPLE * 3 // 2, "d@1": rounds.PEOPLE // 2}
    assert set(member.votes) == {"d@1 down", "d@2 up"}


async def test_a_split_that_never_comes_ends() -> None:
    assert await taken_part(Assigned(lambda _: "d@2")) == {"d@2": rounds.MOST_PEOPLE}


async def test_a_person_who_changes_variant_is_an_error() -> None:
    answers = iter(["d@1", "d@2"] * rounds.PEOPLE)

    with pytest.raises(UnderstudyError, match="moved to another variant"):
        await taken_part(Assigned(lambda _: next(answers)))
