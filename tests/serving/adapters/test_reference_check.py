"""The reference check: whether an engine reproduces an adapter's reference outputs."""

import pytest

from data.adapters.registry import ReferenceOutput
from serving.adapters import reference_check
from serving.adapters.reference_check import agreement, compare
from serving.engine.management_api import EngineRefused
from tests.serving.fake_vllm import FakeVllm

NAME = "helpdesk@1-0123456789ab"
REFERENCES = (
    ReferenceOutput(1, (5, 6, 7), (11, 12, 13, 14), -0.1),
    ReferenceOutput(2, (8, 9), (21, 22), -0.2),
)


@pytest.fixture
def fake(fake: FakeVllm) -> FakeVllm:
    fake.held[NAME] = "/adapters/helpdesk"
    return fake


def other_at(*places: tuple[int, int]):
    """An engine that knows the answers by heart and goes on with 0 at (canary, token) instead;
    after the end of an answer it says 99."""

    def goes_on(_: str, prompt: list[int], count: int) -> list[int]:
        for number, one in enumerate(REFERENCES):
            said = len(prompt) - len(one.prompt)
            if tuple(prompt) == one.prompt + one.answer[:said]:
                whole = [
                    0 if (number, at) in places else token for at, token in enumerate(one.answer)
                ]
                return (whole[said:] + [99] * count)[:count]
        raise AssertionError(f"asked about {prompt}")

    return goes_on


def test_an_engine_that_agrees_is_asked_once(fake: FakeVllm) -> None:
    fake.goes_on = other_at()

    assert agreement(fake.url, NAME, REFERENCES) == 1
    (asked,) = fake.completed
    assert (asked["model"], asked["temperature"], asked["max_tokens"]) == (NAME, 0, 4)
    assert asked["prompt"] == [[5, 6, 7], [8, 9]]


def test_a_different_token_counts_once(fake: FakeVllm) -> None:
    """The engine goes on from the recorded token, so what follows is compared as well."""
    fake.goes_on = other_at((0, 1))

    assert agreement(fake.url, NAME, REFERENCES) == 5 / 6
    assert [asked["prompt"] for asked in fake.completed] == [
        [[5, 6, 7], [8, 9]],
        [[5, 6, 7, 11, 12]],
    ]


def test_a_different_last_token_is_noticed(fake: FakeVllm) -> None:
    fake.goes_on = other_at((1, 1))

    assert agreement(fake.url, NAME, REFERENCES) == 5 / 6
    assert len(fake.completed) == 1


def test_an_engine_that_agrees_nowhere_is_asked_a_limited_number_of_times(fake: FakeVllm) -> None:
    long = ReferenceOutput(3, (1,), tuple(range(100, 132)), -0.1)

    assert agreement(fake.url, NAME, [long]) == 0
    assert len(fake.completed) == reference_check.REFERENCE_OUTPUTS.rounds


def test_tokens_that_were_not_compared_count_as_disagreement(fake: FakeVllm) -> None:
    long = ReferenceOutput(3, (1,), tuple(range(100, 132)), -0.1)
    fake.goes_on = lambda _, prompt, count: [
        99 + i if i % 2 else 0 for i in range(len(prompt), len(prompt) + count)
    ]

    assert agreement(fake.url, NAME, [long]) == reference_check.REFERENCE_OUTPUTS.rounds / 32


def test_probes_report_how_sure_the_engine_was_of_a_different_token(fake: FakeVllm) -> None:
    """0 in place of 12 by a hair, in place of 22, which it did not even think of."""
    fake.goes_on = other_at((0, 1), (1, 1))
    fake.likely = lambda said: {said: -0.7, 12: -0.75} if said == 0 else {said: -0.1}

    found = compare(fake.url, NAME, REFERENCES, reference_check.PROBES)

    assert found is not None
    assert found.agreement == 4 / 6
    assert found.leads == (pytest.approx(0.05), None)
    assert {asked["logprobs"] for asked in fake.completed} == {5}


def test_an_engine_without_probabilities_is_compared_anyway(fake: FakeVllm) -> None:
    fake.goes_on = other_at((0, 1))

    found = compare(fake.url, NAME, REFERENCES, reference_check.REFERENCE_OUTPUTS)

    assert found is not None
    assert (found.agreement, found.leads) == (5 / 6, (None,))
    assert "logprobs" not in fake.completed[0]


def test_no_cached_prefix_of_an_earlier_check_is_used(fake: FakeVllm) -> None:
    fake.goes_on = other_at()
    for _ in range(2):
        agreement(fake.url, NAME, REFERENCES)

    first, second = (asked["cache_salt"] for asked in fake.completed)
    assert first != second


def test_without_reference_outputs_there_is_no_agreement(fake: FakeVllm) -> None:
    assert agreement(fake.url, NAME, ()) is None
    assert agreement(fake.url, NAME, [ReferenceOutput(1, (1, 2), (), 0.0)]) is None
    assert fake.completed == []


def test_an_answer_under_another_name_is_refused(fake: FakeVllm) -> None:
    fake.goes_on, fake.completes_as = other_at(), "base"

    with pytest.raises(EngineRefused, match=f"asked for {NAME} and answered as base"):
        agreement(fake.url, NAME, REFERENCES)


def test_an_engine_without_the_adapter_is_refused(fake: FakeVllm) -> None:
    with pytest.raises(EngineRefused, match="404: The model `helpdesk@2-00` does not exist"):
        agreement(fake.url, "helpdesk@2-00", REFERENCES)


def test_a_refusal_says_why(fake: FakeVllm) -> None:
    fake.refuse_completions = 503

    with pytest.raises(EngineRefused, match="503: it has no time"):
        agreement(fake.url, NAME, REFERENCES)


def test_an_engine_that_answers_no_tokens_is_refused(fake: FakeVllm) -> None:
    fake.goes_on = lambda *_: []

    with pytest.raises(EngineRefused, match="did not continue all reference prompts"):
        agreement(fake.url, NAME, REFERENCES)


def test_an_engine_without_token_ids_is_refused(fake: FakeVllm) -> None:
    fake.goes_on = lambda *_: None  # type: ignore[assignment, return-value]

    with pytest.raises(EngineRefused, match=r"vLLM 0\.10\.2 or later"):
        agreement(fake.url, NAME, REFERENCES)
