"""Engines get evaluation questions like people's questions; errors are sentences."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from aiohttp import web

from data.adapters import placements, registry
from data.adapters.registry import Adapter, ReferenceOutput
from data.config.settings import Settings
from data.domains import Domain
from data.pairs.pairs import Pair
from data.retry import Backoff
from data.runs.phases import Phase
from data.store.db import Store
from tests.serving.fake_vllm import FakeVllm, refusal, running, words
from tests.tuning.evaluation.test_generation import question
from tuning.evaluation import engine_client, gate
from tuning.evaluation.eval_sets import EvalQuestion, EvalSets
from tuning.evaluation.evaluator import Evaluator
from tuning.evaluation.metrics import GeneratedAnswer
from tuning.model.base_model import Base
from tuning.progress import StepProgress

Maker = Callable[..., Pair]


@pytest.fixture
def fake() -> Iterator[FakeVllm]:
    with running(FakeVllm()) as fake:
        yield fake


@pytest.fixture
def asked(base: Base, pair: Maker) -> list[EvalQuestion]:
    return [question(base, pair(f"question {i}", f"answer {i}")) for i in range(20)]


@pytest.fixture
def adapter(store: Store, domain: Domain, settings: Settings) -> Adapter:
    with store.write() as db:
        return registry.register(
            db, domain, version=1, sha256="a" * 64, path="adapters/helpdesk/1", rank=8,
            base_model=settings.base.model, size_bytes=1, recipe={}, scores={},
            state="evaluating",
        )  # fmt: skip


def engine(store: Store, fake: FakeVllm, name: str = "local-0", state: str = "ready") -> None:
    with store.write() as db:
        placements.record_heartbeat(db, name, fake.url, "pocket", state)


def held(store: Store, adapter: Adapter, name: str = "local-0") -> None:
    with store.write() as db:
        placements.record_loaded(db, name, adapter.id, 1.0, 1.0, 0.995)


def echo(fake: FakeVllm) -> None:
    fake.say = lambda body: words(body["model"], " to ", body["messages"][-1]["content"])


def test_answers_come_in_order_from_the_requested_adapter(
    store: Store, adapter: Adapter, fake: FakeVllm, asked: list[EvalQuestion]
) -> None:
    engine(store, fake)
    held(store, adapter)
    echo(fake)

    said = engine_client.answers(store, adapter, asked, 512)

    assert said == [GeneratedAnswer(f"to question {i}") for i in range(20)]
    assert {body["model"] for body in fake.asked} == {adapter.served_name}


def test_an_engine_that_encodes_conversations_equally_passes(
    store: Store, adapter: Adapter, fake: FakeVllm, asked: list[EvalQuestion]
) -> None:
    engine(store, fake)
    held(store, adapter)
    known = {question.text: list(question.prompt) for question in asked}
    fake.renders = lambda said: known[said[-1]["content"]]

    assert engine_client.rendering(store, adapter, asked) == engine_client.Rendering(20)


def test_an_engine_with_another_template_is_found_at_the_first_token(
    store: Store, adapter: Adapter, fake: FakeVllm, asked: list[EvalQuestion]
) -> None:
    engine(store, fake)
    held(store, adapter)
    fake.renders = lambda said: [*asked[0].prompt[:3], 9, *asked[0].prompt[3:]]

    found = engine_client.rendering(store, adapter, asked)

    assert f"from token 4 of {len(asked[0].prompt)} on" in found.differs
    assert "local-0 encodes a conversation differently" in found.differs


def test_an_engine_that_reports_no_tokens_is_not_compared(
    store: Store, adapter: Adapter, fake: FakeVllm, asked: list[EvalQuestion]
) -> None:
    engine(store, fake)
    held(store, adapter)

    found = engine_client.rendering(store, adapter, asked)

    assert (found.compared, found.differs) == (0, "")
    assert "the engine answered 404" in found.not_compared


def test_an_engine_that_reports_no_tokens_does_not_hide_one_that_differs(
    store: Store, adapter: Adapter, fake: FakeVllm, asked: list[EvalQuestion]
) -> None:
    with running(FakeVllm()) as other:
        engine(store, fake)
        engine(store, other, "local-1")
        held(store, adapter)
        held(store, adapter, "local-1")
        other.renders = lambda _: [9]

        found = engine_client.rendering(store, adapter, asked)

    assert "local-1 encodes a conversation differently" in found.differs


def test_without_an_engine_that_holds_the_adapter_nothing_is_compared(
    store: Store, adapter: Adapter, asked: list[EvalQuestion]
) -> None:
    found = engine_client.rendering(store, adapter, asked)

    assert found.compared == 0
    assert "no engine holds helpdesk@1 now" in found.not_compared


class Silent:
    """A reporter for evaluations that nobody follows."""

    def phase(self, phase: Phase, detail: str = "") -> None: ...

    def step(self, now: StepProgress) -> None: ...


def test_the_engine_that_differs_most_apart_from_near_ties_counts(
    store: Store, settings: Settings, adapter: Adapter, fake: FakeVllm
) -> None:
    probes = tuple(ReferenceOutput(i, (1, 2), (3,) * 100, -0.1) for i in range(10))
    with store.write() as db:
        for name, agreement, leads in (
            ("local-0", 0.97, [0.01] * 30),
            ("local-1", 0.98, [2.0] * 20),
        ):
            placements.record_heartbeat(db, name, fake.url, "pocket", "ready")
            placements.record_loaded(db, name, adapter.id, 1.0, 1.0, agreement, leads)
    evaluator = Evaluator(store, settings, None, None, EvalSets({}, {}), None, 64, Silent())  # type: ignore[arg-type]

    found = evaluator._parity(replace(adapter, probes=probes))

    assert found.agreed == 0.98
    assert gate.parity(found, least=0.99).passed is False


def test_the_bare_base_is_requested_by_its_served_name(
    store: Store, fake: FakeVllm, asked: list[EvalQuestion]
) -> None:
    engine(store, fake)

    engine_client.answers(store, None, asked[:1], 512)

    assert [body["model"] for body in fake.asked] == [registry.BASE_SERVED_NAME]


def test_every_sampling_parameter_is_sent_to_the_engine(
    store: Store, fake: FakeVllm, asked: list[EvalQuestion]
) -> None:
    engine(store, fake)

    engine_client.answers(store, None, asked[:1], 512)

    (body,) = fake.asked
    assert body["temperature"] == 0
    assert body["max_tokens"] == asked[0].most_tokens
    assert {"top_p", "top_k", "min_p", "repetition_penalty", "presence_penalty"} <= set(body)
    assert body["messages"][-1] == {"role": "user", "content": asked[0].text}


def test_the_requested_length_fits_the_context(
    store: Store, fake: FakeVllm, asked: list[EvalQuestion]
) -> None:
    engine(store, fake)
    room = len(asked[0].prompt) + 3

    engine_client.answers(store, None, asked[:1], room)

    assert fake.asked[0]["max_tokens"] == 3


def test_an_answer_at_its_limit_is_cut(
    store: Store, fake: FakeVllm, asked: list[EvalQuestion]
) -> None:
    engine(store, fake)
    fake.say = lambda body: words(body["model"], "on and on", finish="length")

    assert engine_client.answers(store, None, asked[:1], 512) == [
        GeneratedAnswer("on and on", cut=True)
    ]


def test_another_engine_is_asked_when_one_fails(
    store: Store, fake: FakeVllm, asked: list[EvalQuestion], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_client, "RETRIES", Backoff(attempts=3, first_s=0.0))
    engine(store, fake)
    echo(fake)
    with running(FakeVllm()) as broken:
        broken.say = lambda _: refusal(500, "EngineDeadError")
        engine(store, broken, "local-1")

        said = engine_client.answers(store, None, asked, 512)

    assert said == [GeneratedAnswer(f"to question {i}") for i in range(20)]
    assert broken.asked


@pytest.mark.parametrize(
    ("trouble", "sentence"),
    [
        ("dead", "answered 500: "),
        ("away", "cannot be reached"),
        ("wrong", "answered as 'somebody@9'"),
        ("other", "is not vLLM"),
    ],
)
def test_when_all_engines_fail_the_error_gives_the_reason(
    store: Store, fake: FakeVllm, asked: list[EvalQuestion], trouble: str, sentence: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(engine_client, "RETRIES", Backoff(attempts=3, first_s=0.0))
    engine(store, fake)
    if trouble == "dead":
        fake.say = lambda _: refusal(500, "EngineDeadError")
    elif trouble == "away":
        fake.network = "resets"
    elif trouble == "wrong":
        fake.say = lambda _: words("somebody@9", "Hello")
    else:
        fake.say = lambda _: web.Response(text="<html>")

    with pytest.raises(engine_client.NoEngineReady, match=sentence):
        engine_client.answers(store, None, asked[:2], 512)


def test_without_any_engine_there_is_no_wait(store: Store, adapter: Adapter) -> None:
    with pytest.raises(engine_client.NoEngineReady, match="no engine is running"):
        engine_client.wait_until_held(store, adapter, 60)


def test_an_engine_that_sleeps_while_a_run_is_on_is_not_waited_for(
    store: Store, adapter: Adapter, fake: FakeVllm
) -> None:
    engine(store, fake, state="asleep")

    with pytest.raises(engine_client.NoEngineReady, match="no engine is running"):
        engine_client.wait_until_held(store, adapter, 60)


def test_a_starting_engine_is_waited_for_up_to_a_limit(
    store: Store, adapter: Adapter, fake: FakeVllm
) -> None:
    engine(store, fake, state="starting")

    with pytest.raises(engine_client.NoEngineReady, match="had loaded it after 0 s"):
        engine_client.wait_until_held(store, adapter, 0.1)


def test_the_placements_are_returned_with_their_parity(
    store: Store, adapter: Adapter, fake: FakeVllm
) -> None:
    engine(store, fake)
    held(store, adapter)

    (place,) = engine_client.wait_until_held(store, adapter, 60)

    assert (place.replica, place.parity) == ("local-0", 0.995)


def test_an_adapter_that_no_engine_can_serve_is_refused_with_the_reason(
    store: Store, adapter: Adapter, fake: FakeVllm
) -> None:
    engine(store, fake)
    for _ in range(placements.ATTEMPTS):
        with store.write() as db:
            placements.record_failed(db, "local-0", adapter.id, "It answers differently.")

    with pytest.raises(engine_client.RequestRefused, match="It answers differently"):
        engine_client.wait_until_held(store, adapter, 60)
