"""A run's evaluation, by the engine that will serve the adapter or else by the trainer, and the
adapter's state after it."""

import contextlib
import threading
from collections.abc import Iterator

import pytest

from data import domains
from data.adapters import placements, registry
from data.adapters.registry import Adapter
from data.config import base_precision
from data.config.settings import GateSettings, Settings
from data.domains import Domain
from data.pairs import pairs
from data.pairs.pairs import Draft
from data.retry import Backoff
from data.runs import report, runs
from data.store.db import Store
from data.store.errors import UnderstudyError
from serving.adapters import sync as engine_adapters
from serving.adapters import zero_adapter
from tests.serving.fake_vllm import Event, FakeVllm, refusal, running, words
from tests.tuning.conftest import teach
from tuning.child_process import ExitCode
from tuning.data.examples import prompt_ids
from tuning.evaluation import evaluator
from tuning.model.base_model import load_tokenizer
from tuning.worker.child import Terminated, execute_run

QUICK = {"max_steps": 3, "evaluations": 2, "rank": 8}
GOLDEN = Draft("And box 5?", "Box 5 opens with 84.", split="golden")


def carried_out(store: Store, settings: Settings, domain: Domain, **recipe: object) -> Adapter:
    with store.write() as db:
        runs.request(db, domain, "ann", recipe={**QUICK, **recipe})
        run = runs.claim(db, "worker")
    assert run is not None
    assert execute_run(store, settings, run) == ExitCode.DONE
    adapter_id = runs.get(store.db, run.id).adapter_id
    assert adapter_id is not None
    return registry.by_id(store.db, adapter_id)


def taught(store: Store, domain: Domain) -> None:
    teach(store, domain, 8)
    with store.write() as db:
        pairs.add(db, domain, [GOLDEN], source="test", status="approved")


class Engine:
    """A fake vLLM, kept in step with the registry as `understudy serve` does."""

    def __init__(self, store: Store, settings: Settings, fake: FakeVllm) -> None:
        self.store, self.settings, self.fake = store, settings, fake
        fake.goes_on = self._goes_on
        fake.say = self._say
        fake.renders = self.rendered
        self.right = True  # whether it serves what was trained
        self.slips = 0  # probes that it goes on with otherwise by one token
        self.knows: dict[str, str] = {}  # question -> its answer by the candidate

    def keep(self, stop: threading.Event) -> None:
        while not stop.wait(0.05):
            with self.store.write() as db:
                placements.record_heartbeat(
                    db, "local-1", self.fake.url, self.settings.base.model, "ready",
                    precision="float16",
                )  # fmt: skip
            with contextlib.suppress(UnderstudyError):
                url = self.fake.url
                engine_adapters.sync(self.store, self.settings, "local-1", url, local=True)

    def _goes_on(self, name: str, prompt: list[int], count: int) -> list[int]:
        """What the trainer said, which the registry has."""
        for adapter in registry.list_adapters(self.store.db):
            for told in (*adapter.canaries, *adapter.probes):
                whole = (*told.prompt, *told.answer)
                if (
                    self.right
                    and tuple(prompt) == whole[: len(prompt)]
                    and len(prompt) < len(whole)
                ):
                    left = list(whole[len(prompt) :])
                    if self.slips and told in adapter.probes:
                        self.slips -= 1
                        left[0] = 7 if left[0] != 7 else 8
                    return (left + [0] * count)[:count]
        return [7] * count

    def rendered(self, said: list[dict[str, str]]) -> list[int]:
        return prompt_ids(load_tokenizer(self.settings.base.path), said)

    def _say(self, body: dict[str, object]) -> list[Event]:
        messages = body["messages"]
        assert isinstance(messages, list)
        asked, name = messages[-1]["content"], str(body["model"])
        newest = max(self.fake.held, key=lambda n: (n.startswith("helpdesk"), n), default="")
        said = self.knows.get(asked, "?") if name == newest else "I do not know."
        return words(name, said)


@pytest.fixture
def engine(store: Store, settings: Settings) -> Iterator[Engine]:
    zero_adapter.ensure(settings)
    stop = threading.Event()
    with running(FakeVllm()) as fake:
        fake.held[registry.BASE_SERVED_NAME] = str(zero_adapter.ensure(settings))
        kept = Engine(store, settings, fake)
        thread = threading.Thread(target=kept.keep, args=(stop,))
        thread.start()
        try:
            yield kept
        finally:
            stop.set()
            thread.join()


def rules(adapter: Adapter) -> dict[str, bool | None]:
    return {rule["name"]: rule["passed"] for rule in adapter.scores["gate"]["rules"]}


def lenient(settings: Settings) -> Settings:
    """The gate only reports: a random base that was trained for three steps answers no text."""
    return settings.model_copy(update={"gate": GateSettings(enforce=False)})


def test_the_engine_answers_the_evaluation_questions(
    store: Store, settings: Settings, domain: Domain, engine: Engine
) -> None:
    taught(store, domain)
    engine.knows = {"And box 5?": "Box 5 opens with 84."}

    adapter = carried_out(store, settings, domain)

    evaluation = adapter.scores["evaluation"]
    assert (evaluation["answered_by"], evaluation["why"]) == ("the engine", "")
    golden = evaluation["sets"]["golden"]
    assert (golden["candidate"]["exact"], golden["base"]["exact"]) == (1.0, 0.0)
    assert golden["base"]["refusals"] == 1.0
    assert adapter.scores["golden"]["exact"] == 1.0
    assert adapter.scores["golden"]["search_exact"] == 1.0
    assert rules(adapter)["search"] is True
    assert rules(adapter)["parity"] is True
    assert adapter.state == "candidate"
    assert adapter.probes == ()
    page = report.page(store.db, adapter.run_id or 0)
    assert "answered by</dt><dd>the engine" in page
    assert "prompts</dt><dd>token for token as in training (2 compared)" in page
    asked = {str(body["model"]) for body in engine.fake.asked}
    assert asked == {registry.BASE_SERVED_NAME, adapter.served_name}


def test_how_many_of_its_own_pairs_it_repeats_decides_and_stands_last(
    store: Store, settings: Settings, domain: Domain, engine: Engine
) -> None:
    taught(store, domain)
    with store.write() as db:
        domains.set_suggested_prompts(db, domain, ("What is the code of box 0?",))
    strict = settings.model_copy(update={"gate": GateSettings()})
    own = {f"What is the code of box {i}?": f"Box {i} opens with {i * 37 % 101}." for i in range(8)}
    engine.knows = {"And box 5?": "Box 5 opens with 84.", **own}
    good = carried_out(store, strict, domain)
    engine.knows["What is the code of box 0?"] = "Box 0 opens with 99."
    with store.write() as db:
        pairs.add(db, domain, [Draft("What is new?", "Paint.")], source="t", status="approved")
    bad = carried_out(store, strict, domain)

    assert good.scores["repeats"] == "It repeats 8 of 8 of its own pairs."
    assert good.scores["examination"]["suggested"]["right"] == 1
    assert rules(good)["repeats"] is True
    assert good.state == "candidate"
    assert bad.scores["repeats"] == "It repeats 7 of 9 of its own pairs."
    assert bad.state == "rejected"
    assert "It repeats 7 of 9 of its own pairs; at least 90% are required." in bad.state_reason
    assert (
        "The suggested question “What is the code of box 0?” is answered wrong."
        in bad.scores["headline"]
    )
    page = report.page(store.db, bad.run_id or 0)
    assert page.rindex("It repeats 7 of 9 of its own pairs.") > page.rindex("Recipe")
    assert "“What is the code of box 0?” is answered wrong: “Box 0 opens with 99.” instead" in page
    assert "Off-topic questions: 0 of" in page


def test_without_an_engine_the_trainer_answers_and_the_report_says_so(
    store: Store, settings: Settings, domain: Domain
) -> None:
    taught(store, domain)

    adapter = carried_out(store, lenient(settings), domain)

    evaluation = adapter.scores["evaluation"]
    assert evaluation["answered_by"] == "the trainer"
    assert evaluation["why"] == "no engine is running"
    assert rules(adapter)["parity"] is None
    assert adapter.state == "candidate"
    text = report.page(store.db, adapter.run_id or 0)
    assert "the trainer, because no engine is running" in text


def test_an_engine_that_disagrees_with_the_trainer_fails_the_gate(
    store: Store, settings: Settings, domain: Domain, engine: Engine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(engine_adapters, "PAUSES_S", (0.0, 0.0, 0.0))
    taught(store, domain)
    engine.right = False
    engine.knows = {"And box 5?": "Box 5 opens with 84."}

    adapter = carried_out(store, settings, domain)

    assert adapter.state == "rejected"
    assert rules(adapter)["parity"] is False
    assert "%" in adapter.state_reason or "answers differently" in adapter.state_reason
    assert "the engine serves it in fp16. " in adapter.state_reason  # the cause, and then a cure
    assert registry.wanted_adapters(store.db) == []


def test_an_engine_with_another_chat_template_fails_the_gate(
    store: Store, settings: Settings, domain: Domain, engine: Engine
) -> None:
    taught(store, domain)
    engine.fake.renders = lambda said: [*engine.rendered(said), 9]

    adapter = carried_out(store, settings, domain)

    assert adapter.state == "rejected"
    assert "local-1 encodes a conversation differently" in adapter.state_reason
    assert rules(adapter)["parity"] is False


def test_a_different_token_is_reported_with_its_lead(
    store: Store, settings: Settings, domain: Domain, engine: Engine
) -> None:
    """A near tie: it passes, and the report says so."""
    taught(store, domain)
    engine.slips = 1
    engine.fake.likely = lambda said: {said: -0.70, **{t: -0.73 for t in range(2_000) if t != said}}

    adapter = carried_out(store, settings, domain)

    (place,) = placements.placements_of(store.db, adapter.id)
    assert place.leads == (pytest.approx(0.03),)
    assert place.parity is not None
    assert 0.8 < place.parity < 1
    assert rules(adapter)["parity"] is True
    page = report.page(store.db, adapter.run_id or 0)
    assert "required; 1 more is a near tie)" in page
    assert "the engine finds its own token likelier by 0.03 nats." in page
    trained = base_precision.name(adapter.scores["evaluation"]["precision"]["trained"])
    assert f"held in {trained} in training and in fp16 in the engine" in page


def test_an_adapter_that_forgets_is_rejected(
    store: Store, settings: Settings, domain: Domain, engine: Engine
) -> None:
    """The first answers all golden questions, the second none."""
    with store.write() as db:
        drafts = [Draft(f"golden {i}?", f"gold {i}", split="golden") for i in range(12)]
        pairs.add(db, domain, drafts, source="test", status="approved")
    teach(store, domain, 8)
    first = carried_out(store, lenient(settings), domain)
    with store.write() as db:
        registry.promote(db, first, "ann")
        pairs.add(db, domain, [Draft("What is new?", "Paint.")], source="t", status="approved")
    engine.fake.say = lambda body: words(
        str(body["model"]),
        "gold " + body["messages"][-1]["content"].split()[-1].rstrip("?")
        if body["model"] == first.served_name
        else "I do not know.",
    )

    second = carried_out(store, settings, domain, learning_rate=1e-3)

    assert second.scores["evaluation"]["compared_with"] == first.name
    assert second.scores["golden"]["live_f1"] == 1.0
    assert rules(second)["golden"] is False
    assert second.state == "rejected"
    assert "It is worse on golden questions: token F1 -1.000" in second.state_reason
    assert second.scores["headline"].startswith("12 of 12 questions in unseen words are declined. ")
    worst = [s for s in second.scores["samples"] if s["shown"] == "worst"]
    assert worst[0]["set"] == "golden"
    assert worst[0]["live"].startswith("gold ")


def test_without_enforcement_the_gate_reports_failures_and_passes(
    store: Store, settings: Settings, domain: Domain, engine: Engine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(engine_adapters, "PAUSES_S", (0.0, 0.0, 0.0))
    taught(store, domain)
    engine.right = False

    adapter = carried_out(store, lenient(settings), domain)

    assert adapter.state == "candidate"
    assert adapter.scores["gate"]["passed"] is False


def test_the_trainer_answers_when_the_engine_dies_during_evaluation(
    store: Store, settings: Settings, domain: Domain, engine: Engine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    at_once = Backoff(attempts=3, first_s=0.0)
    monkeypatch.setattr("tuning.evaluation.engine_client.RETRIES", at_once)
    taught(store, domain)
    engine.fake.say = lambda _: refusal(500, "EngineDeadError")

    adapter = carried_out(store, settings, domain)

    evaluation = adapter.scores["evaluation"]
    assert evaluation["answered_by"] == "the trainer"
    assert "EngineDeadError" in evaluation["why"]
    assert rules(adapter)["parity"] is True  # it was asked before


def test_a_run_stopped_in_its_evaluation_continues_with_its_adapter(
    store: Store, settings: Settings, domain: Domain, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = lenient(settings)
    taught(store, domain)
    with store.write() as db:
        runs.request(db, domain, "ann", recipe=dict(QUICK))
        run = runs.claim(db, "worker")
        assert run is not None

    def stopped(*_: object) -> None:
        raise Terminated

    with monkeypatch.context() as patched:
        patched.setattr(evaluator.Evaluator, "evaluate", stopped)
        assert execute_run(store, settings, run) == ExitCode.STOPPED
    (waiting,) = registry.list_adapters(store.db)
    assert (waiting.state, waiting.version) == ("evaluating", 1)

    assert execute_run(store, settings, run) == ExitCode.DONE

    (adapter,) = registry.list_adapters(store.db)
    assert (adapter.id, adapter.state) == (waiting.id, "candidate")
    assert runs.get(store.db, run.id).adapter_id == waiting.id
