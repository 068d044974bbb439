"""Which rated answers are trained on: those whose prompt can be reconstructed, none to golden
questions, and some are held out by question."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from data import domains
from data.adapters import registry
from data.adapters.registry import Adapter
from data.config.settings import Settings
from data.conversations import conversations
from data.domains import Domain
from data.feedback import feedback
from data.pairs import datasets, pairs, preference_sets, reply_sources, review_status
from data.pairs.pairs import Pair
from data.pairs.preference_sets import RatedReply
from data.pairs.reply_sources import FoundPair
from data.runs import runs
from data.runs.phases import Phase
from data.search import layout
from data.store.db import Store
from data.store.errors import Invalid
from tests.tuning.data.test_training_set import add, parent_of
from tuning.data.examples import Example, prompt_ids
from tuning.data.run_inputs import RunInputs
from tuning.model.base_model import load_base, new_adapter
from tuning.recipe.recipe import TINY_BASE
from tuning.training import methods, preference_set
from tuning.training.preference_set import PreferenceSet


@pytest.fixture
def live(store: Store, settings: Settings, domain: Domain) -> Adapter:
    add(store, domain, ("What is taught?", "This is."))
    parent = parent_of(store, settings, domain)
    with store.write() as db:
        return registry.promote(db, parent, "ann")


def rated(
    store: Store,
    domain: Domain,
    tokenizer: Any,
    question: str,
    up: bool,
    *,
    system: str = "Be brief.",
    answer: str = "So it is.",
    thread: str = "",
    before: tuple[tuple[str, str], ...] = (),
    person: str = "slack:T1/U1",
    references: Sequence[Pair] = (),
    version: int = layout.VERSION,
) -> str:
    """An answer with a thumb, as the engine was asked for it."""
    said = [{"role": "system", "content": system}]
    for asked, got in before:
        said += [{"role": "user", "content": asked}, {"role": "assistant", "content": got}]
    asked_as = layout.with_references(question, references)
    said.append({"role": "user", "content": asked_as})
    reply = conversations.new_reply_id()
    with store.write() as db:
        talk = conversations.open_thread(db, thread or reply, domain.id, person)
        conversations.ask(
            db,
            reply_id=reply,
            conversation=talk,
            person=person,
            text=question,
            adapter_id=None,
            variant_id=None,
        )
        tokens = len(prompt_ids(tokenizer, said))
        conversations.finish_reply(
            db, reply, answer, status="done", finish_reason="stop", prompt_tokens=tokens,
            layout=version if references else 0,
        )  # fmt: skip
        found = [FoundPair(pair.id, 1.0, 1.0) for pair in references]
        reply_sources.record(db, reply, reply_sources.describe(db, found))
        feedback.thumb(db, reply, person, up)
    return reply


def thumbs(
    store: Store,
    settings: Settings,
    domain: Domain,
    tokenizer: Any,
    live: Adapter,
    **recipe: Any,
) -> PreferenceSet:
    with store.write() as db:
        run = runs.request(db, domain, "ann", recipe={"method": "kto", **recipe})
        preference_sets.freeze(db, run.id, domain)
        dataset = datasets.freeze(db, domain)
    return preference_set.prepare_preference_set(
        store.db, settings, RunInputs(run, domain, dataset, live), tokenizer
    )


def test_rated_answers_are_trained_with_their_original_prompts(
    store: Store, settings: Settings, domain: Domain, tokenizer: Any, live: Adapter
) -> None:
    for number in range(4):
        rated(store, domain, tokenizer, f"Good {number}?", up=True)
        rated(store, domain, tokenizer, f"Bad {number}?", up=False)

    made = thumbs(store, settings, domain, tokenizer, live)

    assert sorted(made.objective.liked.values()) == [False] * 4 + [True] * 4
    assert made.left_out == 0
    assert not made.held_out
    assert list(made.training_set.epoch(0)) == list(made.objective.liked)
    assert made.training_set.recipe.rank == 8  # the parent's
    assert "8 rated answers: KTO from helpdesk@1, with a small rate" in made.training_set.recipe.why


def test_an_answer_with_a_callers_own_system_prompt_is_left_out(
    store: Store, settings: Settings, domain: Domain, tokenizer: Any, live: Adapter
) -> None:
    for number in range(4):
        rated(store, domain, tokenizer, f"Good {number}?", up=True)
        rated(store, domain, tokenizer, f"Bad {number}?", up=False)
    rated(store, domain, tokenizer, "A caller's own?", up=False, system="You are a pirate.")

    made = thumbs(store, settings, domain, tokenizer, live)

    assert len(made.objective.liked) == 8
    assert made.left_out == 1


def test_an_answer_from_references_is_trained_with_them(
    store: Store, settings: Settings, domain: Domain, tokenizer: Any, live: Adapter
) -> None:
    """In the order in which they were sent. One in a layout that is not known is left out."""
    add(store, domain, ("Where?", "Here."), ("When?", "Now."))
    known = pairs.list_pairs(store.db, domain, "approved")
    for number in range(4):
        rated(store, domain, tokenizer, f"Good {number}?", up=True, references=known)
        rated(store, domain, tokenizer, f"Bad {number}?", up=False, references=known)
    rated(store, domain, tokenizer, "Other?", up=False, references=known, version=9)

    made = thumbs(store, settings, domain, tokenizer, live)

    assert (len(made.objective.liked), made.left_out) == (8, 1)
    for example in made.objective.liked:
        asked = tokenizer.decode(example.prompt)
        assert layout.with_references("", known).removesuffix("Question: ") in asked


def test_an_answer_from_a_pair_that_was_rejected_since_is_left_out(
    store: Store, settings: Settings, domain: Domain, tokenizer: Any, live: Adapter
) -> None:
    (gone,) = add(store, domain, ("Where?", "Here."))
    known = [pairs.get(store.db, gone)]
    for number in range(4):
        rated(store, domain, tokenizer, f"Good {number}?", up=True)
        rated(store, domain, tokenizer, f"Bad {number}?", up=False)
    rated(store, domain, tokenizer, "Other?", up=False, references=known)
    with store.write() as db:
        review_status.set_status(db, gone, "rejected", "ann")

    assert thumbs(store, settings, domain, tokenizer, live).left_out == 1


def test_the_turns_before_an_answer_belong_to_its_question(
    store: Store, settings: Settings, domain: Domain, tokenizer: Any, live: Adapter
) -> None:
    for number in range(4):
        rated(store, domain, tokenizer, f"Good {number}?", up=True)
        rated(store, domain, tokenizer, f"Bad {number}?", up=False)
    rated(store, domain, tokenizer, "First?", up=True, thread="t", answer="One.")
    second = rated(
        store, domain, tokenizer, "Second?", up=True, thread="t", before=(("First?", "One."),)
    )

    made = thumbs(store, settings, domain, tokenizer, live)

    assert made.left_out == 0
    given = {one.reply_id: one for one in preference_sets.of_run(store.db, 1, 6)}
    assert [turn.text for turn in given[second].turns] == ["First?", "One."]


def test_a_golden_question_is_never_learned_from(
    store: Store, settings: Settings, domain: Domain, tokenizer: Any, live: Adapter
) -> None:
    add(store, domain, ("What is measured?", "That is."), split="golden")
    for number in range(4):
        rated(store, domain, tokenizer, f"Good {number}?", up=True)
        rated(store, domain, tokenizer, f"Bad {number}?", up=False)
    rated(store, domain, tokenizer, "what is  measured?", up=False)
    rated(store, domain, tokenizer, "What is the measured, please?", up=False)

    made = thumbs(store, settings, domain, tokenizer, live)

    assert len(made.objective.liked) == 8


def test_some_questions_are_held_out_with_all_their_answers(
    store: Store, settings: Settings, domain: Domain, tokenizer: Any, live: Adapter
) -> None:
    for number in range(60):
        for up in (True, False):
            answer = f"So {up} it is {number}."
            who = f"slack:T1/V{number}"
            rated(store, domain, tokenizer, f"Question {number}?", up, answer=answer, person=who)

    made = thumbs(store, settings, domain, tokenizer, live)

    trained = list(made.training_set.epoch(0))
    assert len(trained) + len(made.held_out) == 120
    assert 0.05 < len(made.held_out) / 120 < 0.4
    assert not {e.prompt for e in trained} & {e.prompt for e in made.held_out}


def test_too_few_usable_answers_are_refused_with_a_reason(
    store: Store, settings: Settings, domain: Domain, tokenizer: Any, live: Adapter
) -> None:
    for number in range(4):
        rated(
            store,
            domain,
            tokenizer,
            f"Good {number}?",
            up=True,
            system="Sing everything that you say.",
        )
        rated(store, domain, tokenizer, f"Bad {number}?", up=False)

    with pytest.raises(Invalid, match="4 of 8 rated answers are usable"):
        thumbs(store, settings, domain, tokenizer, live)


def test_only_requested_recipe_values_are_named(
    store: Store, settings: Settings, domain: Domain, tokenizer: Any, live: Adapter
) -> None:
    for number in range(4):
        rated(store, domain, tokenizer, f"Good {number}?", up=True)
        rated(store, domain, tokenizer, f"Bad {number}?", up=False)

    made = thumbs(
        store, settings, domain, tokenizer, live, epochs=2, rank=8, accept_licence="mit"
    )  # fmt: skip

    assert made.training_set.recipe.why.endswith(
        "The base is not quantised, as the engines serve it. Asked for: epochs=2."
    )


def test_a_setting_that_kto_does_not_support_is_refused(
    store: Store, settings: Settings, domain: Domain, tokenizer: Any, live: Adapter
) -> None:
    for number in range(4):
        rated(store, domain, tokenizer, f"Good {number}?", up=True)
        rated(store, domain, tokenizer, f"Bad {number}?", up=False)

    with store.write() as db:
        recipe = {"method": "kto", "packing": True}
        run = runs.request(db, domain, "ann", recipe=recipe)
        inputs = RunInputs(run, domain, datasets.freeze(db, domain), live)

    with pytest.raises(Invalid, match="packing cannot be used with the method kto"):
        methods.set_up(store.db, settings, inputs, tokenizer)


def rate_eight(store: Store, domain: Domain, tokenizer: Any) -> None:
    for number in range(4):
        rated(store, domain, tokenizer, f"Good {number}?", up=True)
        rated(store, domain, tokenizer, f"Bad {number}?", up=False)


def test_the_method_learns_from_rated_answers_and_reports_their_rewards(
    store: Store, settings: Settings, domain: Domain, tokenizer: Any, live: Adapter
) -> None:
    rate_eight(store, domain, tokenizer)
    rated(store, domain, tokenizer, "A caller's own?", up=False, system="You are a pirate.")
    with store.write() as db:
        run = runs.request(db, domain, "ann", recipe={"method": "kto"})
        preference_sets.freeze(db, run.id, domain)
        inputs = RunInputs(run, domain, datasets.freeze(db, domain), live)
    made = preference_set.set_up_kto(store.db, settings, inputs, tokenizer)
    assert made.begin_phase is Phase.SCORING_RATED_ANSWERS
    assert len(made.training_set.epoch(0)) == 8
    recipe = made.training_set.recipe
    base = load_base(settings.base.path, recipe)
    assert made.begin is not None
    assert made.scores is not None
    made.begin(base, base.model, recipe)
    found = made.scores(base, base.model, recipe)["thumbs"]
    assert found["left_out"] == 1
    assert "held_out" not in found
    assert found["trained"]["answers"] == 8
    assert found["trained"]["liked"] == pytest.approx(0.0, abs=1e-4)  # nothing was trained yet


@pytest.mark.parametrize(("answers", "some"), [(39, False), (40, True)])
def test_answers_are_held_out_from_forty_on(answers: int, some: bool) -> None:
    """A fifth of the questions, by the SHA-256 of their words."""

    def share(question: str) -> float:
        return int(hashlib.sha256(f"thumbs:{question}".encode()).hexdigest()[:16], 16) / 2**64

    usable = {
        Example(number, (1, 2), (-100, 2)): RatedReply(
            number, f"r{number}", None, (), f"Question {number}?", "So.", number % 2 == 0, 3
        )
        for number in range(answers)
    }
    trained, held_out = preference_set._split(usable)
    expected = {e for e, r in usable.items() if some and share(r.question.lower()) < 0.2}
    assert held_out.keys() == expected
    assert bool(expected) is some
    assert trained.keys() == usable.keys() - expected
    assert {**trained, **held_out} == {e: r.liked for e, r in usable.items()}


def test_large_bases_use_the_rate_of_the_paper_and_tiny_ones_the_measured_rate() -> None:
    assert preference_set.USUAL == {
        "learning_rate": 5e-6,
        "epochs": 1.0,
        "batch_size": 16,
        "max_steps": 0,
    }
    assert preference_set.TINY == preference_set.USUAL | {"learning_rate": 2e-4, "epochs": 3.0}


@pytest.mark.parametrize(
    ("parameters", "rate"), [(TINY_BASE - 1, 2e-4), (TINY_BASE, 5e-6), (7_000_000_000, 5e-6)]
)
def test_the_rate_follows_the_size_of_the_base_and_the_request(
    store: Store,
    settings: Settings,
    domain: Domain,
    tokenizer: Any,
    live: Adapter,
    parameters: int,
    rate: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rate_eight(store, domain, tokenizer)
    monkeypatch.setattr(preference_set, "count_parameters", lambda path: parameters)
    usual = thumbs(store, settings, domain, tokenizer, live).training_set.recipe
    assert (usual.learning_rate, usual.method) == (rate, "kto")


def test_a_requested_rate_replaces_the_usual_one(
    store: Store, settings: Settings, domain: Domain, tokenizer: Any, live: Adapter
) -> None:
    rate_eight(store, domain, tokenizer)
    made = thumbs(store, settings, domain, tokenizer, live, learning_rate=1e-5)
    assert made.training_set.recipe.learning_rate == 1e-5


def test_pairs_of_the_dataset_are_measured_and_nothing_else(
    store: Store, settings: Settings, domain: Domain, tokenizer: Any, live: Adapter
) -> None:
    rate_eight(store, domain, tokenizer)
    with store.write() as db:
        other = domains.create(db, "other")
    add(store, other, ("Elsewhere?", "There."), split="validation")
    (held_out,) = add(store, domain, ("What is held out?", "These."), split="validation")
    for number in range(80):  # some of these facts spare one of their phrasings
        fact = f"fact {number}"
        asked = [
            (f"{word} is {fact}?", f"It is {number}.") for word in ("What", "Who", "How", "So")
        ]
        add(store, domain, *asked, fact=fact)

    made = thumbs(store, settings, domain, tokenizer, live, seed=7).training_set

    probes = datasets.pairs_of(store.db, 2, "probe")
    assert [e.pair_id for e in made.measured["probe"]] == [p.id for p in probes]
    assert held_out in [e.pair_id for e in made.measured["validation"]]
    assert set(made.measured) == {"validation", "probe"}
    assert (made.selected_by, made.compared_by, made.held_out) == ((), (), ())
    assert (made.new, made.superseded, made.reworded) == (8, 0, 0)


def test_without_held_out_pairs_nothing_is_measured(
    store: Store, settings: Settings, domain: Domain, tokenizer: Any, live: Adapter
) -> None:
    rate_eight(store, domain, tokenizer)
    made = thumbs(store, settings, domain, tokenizer, live, seed=7)
    assert made.training_set.measured == {}
    assert made.objective.seed == 7
    assert made.objective.beta == made.training_set.recipe.preference_beta


def test_a_callers_system_message_belongs_to_the_prompt(
    store: Store, settings: Settings, domain: Domain, tokenizer: Any, live: Adapter
) -> None:
    rate_eight(store, domain, tokenizer)
    reply = rated(store, domain, tokenizer, "Ahoy?", up=True, system="You are a pirate.")
    with store.write() as db:
        run = runs.request(db, domain, "ann", recipe={"method": "kto"})
        preference_sets.freeze(db, run.id, domain)
        dataset = datasets.freeze(db, domain)
        given = preference_sets.of_run(db, run.id, settings.bot.history_turns)
    known = [replace(r, system="You are a pirate.") if r.reply_id == reply else r for r in given]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(preference_sets, "of_run", lambda *_: known)
        made = preference_set.prepare_preference_set(
            store.db, settings, RunInputs(run, domain, dataset, live), tokenizer
        )
    assert made.left_out == 0
    assert len(made.objective.liked) == 9


def test_held_out_answers_have_a_reward_of_their_own(
    store: Store, settings: Settings, domain: Domain, tokenizer: Any, live: Adapter
) -> None:
    for number in range(24):
        for up in (True, False):
            answer = f"So {up} it is {number}."
            who = f"slack:T1/V{number}"
            rated(store, domain, tokenizer, f"Question {number}?", up, answer=answer, person=who)
    with store.write() as db:
        run = runs.request(db, domain, "ann", recipe={"method": "kto"})
        preference_sets.freeze(db, run.id, domain)
        inputs = RunInputs(run, domain, datasets.freeze(db, domain), live)
    made = preference_set.set_up_kto(store.db, settings, inputs, tokenizer)
    recipe = made.training_set.recipe
    base = load_base(settings.base.path, recipe)
    assert made.begin is not None
    assert made.scores is not None
    adapted = new_adapter(base, recipe)
    made.begin(base, adapted, recipe)
    found = made.scores(base, adapted, recipe)["thumbs"]
    trained = len(made.training_set.epoch(0))
    assert found["trained"]["answers"] == trained
    assert found["held_out"]["answers"] == 48 - trained > 0
    assert made.objective is not None
    window = list(made.training_set.epoch(0))[:4]
    loss, tokens = made.objective(base, adapted, window, recipe)
    assert 0 < loss < 1  # an untrained adapter loses about half of each answer's weight
    assert tokens > 0
