"""The further questions to a new adapter: its own pairs, old facts in other ways, and others."""

from dataclasses import replace
from typing import Any

import pytest

from data import domains
from data.adapters import registry
from data.adapters.registry import Adapter
from data.config.settings import AnswersSettings, BotSettings, GateSettings, Settings
from data.domains import Domain
from data.pairs import datasets, pairs
from data.pairs.pairs import Draft, Pair, Turn
from data.search import layout
from data.search.search import PairSearch
from data.store.db import Store
from tests.tuning.conftest import teach
from tuning.data import reading_set
from tuning.evaluation import examination
from tuning.evaluation.eval_sets import QuestionMaker
from tuning.evaluation.examination import Examination
from tuning.model.chat_template import stop_ids


def prepared(
    store: Store, settings: Settings, domain: Domain, tokenizer: Any, live: Adapter | None = None
) -> Examination:
    with store.write() as db:
        dataset = datasets.freeze(db, domain)
    maker = QuestionMaker(tokenizer, domain.system_prompt, stop_ids(tokenizer), 512)
    search = PairSearch(store, settings.search)
    return examination.prepare(store.db, settings, domain, dataset, live, maker, search)


def asked(found: Examination, kind: examination.Kind) -> list[str]:
    return [question.text for question in found.questions.get(kind, ())]


def pair(prompt: str, response: str = "Yes.") -> Pair:
    return reading_set.pair_of(prompt, response)


def test_an_adapter_is_asked_its_own_pairs_and_old_facts_in_other_ways(
    store: Store, settings: Settings, domain: Domain, tokenizer: Any
) -> None:
    teach(store, domain, 20)
    found = prepared(store, settings, domain, tokenizer)

    assert len(asked(found, "own")) == 20
    assert all(text.startswith("what is the code of box") for text in asked(found, "reworded"))
    follow_up = found.questions["follow_up"][0]
    roles = [message["role"] for message in follow_up.messages]
    assert roles == ["system", "user", "assistant", "user"]
    assert follow_up.messages[1]["content"] != follow_up.text
    repeated = found.questions["repeated"][0]
    asked_again = [m["content"] for m in repeated.messages if m["role"] == "user"]
    other = examination.reworded(pair(repeated.text)).prompt
    assert asked_again == [other, other, repeated.text]
    assert [m["content"] for m in repeated.messages if m["role"] == "assistant"] == (
        [repeated.expected] * 2
    )


def test_the_setting_bounds_the_number_of_questions(
    store: Store, settings: Settings, domain: Domain, tokenizer: Any
) -> None:
    teach(store, domain, 60)
    few = settings.model_copy(update={"gate": GateSettings(further_questions=24)})
    none = settings.model_copy(update={"gate": GateSettings(further_questions=0)})

    found = prepared(store, few, domain, tokenizer)
    assert len(found.questions["own"]) == 12
    assert sum(map(len, found.questions.values())) <= 24
    assert prepared(store, none, domain, tokenizer).questions == {}


def test_no_conversation_is_examined_where_people_have_none(
    store: Store, settings: Settings, domain: Domain, tokenizer: Any
) -> None:
    teach(store, domain, 8)
    alone = settings.model_copy(update={"bot": BotSettings(history_turns=0)})
    found = prepared(store, alone, domain, tokenizer)
    assert set(found.questions) & {"follow_up", "repeated"} == set()
    once = settings.model_copy(update={"bot": BotSettings(history_turns=1)})
    repeated = prepared(store, once, domain, tokenizer).questions["repeated"][0]
    assert len(repeated.messages) == 4  # one earlier turn


def test_old_facts_are_those_that_the_live_adapter_learned(
    store: Store, settings: Settings, domain: Domain, tokenizer: Any
) -> None:
    teach(store, domain, 6)
    with store.write() as db:
        dataset = datasets.freeze(db, domain)
        adapter = registry.register(
            db, domain, version=1, sha256="a" * 64, path="adapters/helpdesk/1", rank=8,
            base_model="pocket", size_bytes=1, recipe={}, scores={}, dataset_id=dataset.id,
            parent_id=None,
        )  # fmt: skip
        live = registry.promote(db, adapter, "ann")
        new = [Draft("Where is the new rack?", "In the cellar.")]
        pairs.add(db, domain, new, source="test", status="approved")
    found = prepared(store, settings, domain, tokenizer, live)

    assert "Where is the new rack?" in asked(found, "own")
    for kind in examination.OLD_FACTS:
        assert all("box" in text for text in asked(found, kind))
        assert found.of_live[kind] == found.questions[kind]


def test_suggested_questions_are_asked_with_the_answers_of_their_pairs(
    store: Store, settings: Settings, domain: Domain, tokenizer: Any
) -> None:
    teach(store, domain, 4)
    with store.write() as db:
        suggested = ("what is the code of box 2", "Who has the keys?")
        domains.set_suggested_prompts(db, domain, suggested)
        domain = domains.get(db, domain.name)
    found = prepared(store, settings, domain, tokenizer)

    (question,) = found.questions["suggested"]
    assert (question.text, question.expected) == (suggested[0], "Box 2 opens with 74.")
    assert found.unknown == ("Who has the keys?",)


def test_off_topic_questions_are_searched_before_the_adapter_is_asked(
    store: Store, settings: Settings, domain: Domain, tokenizer: Any
) -> None:
    teach(store, domain, 20)
    searched = prepared(store, settings, domain, tokenizer)
    answers_all = settings.model_copy(update={"answers": AnswersSettings(mode="adapter")})
    alone = prepared(store, answers_all, domain, tokenizer)

    assert searched.off_topic >= 30
    assert searched.declined >= 0.9 * searched.off_topic
    assert (alone.declined, alone.off_topic) == (0, len(alone.questions["off_topic"]))
    assert {q.expected for q in alone.questions["off_topic"]} == {layout.UNKNOWN}


@pytest.mark.parametrize(
    ("prompt", "other"),
    [
        ("How do I approve a pair?", "how do I aprpove a pair"),
        ("Is it on?", "is it on"),
        ("GPU?", "GPU"),
        (
            "What does `approve` do in /understudy-help?",
            "what does `approve` do in /understudy-help",
        ),
    ],
)
def test_a_rewording_changes_no_name_and_no_command(prompt: str, other: str) -> None:
    assert examination.reworded(pair(prompt)).prompt == other


def test_conversations_of_pairs_and_made_ones_take_turns() -> None:
    one, two = (replace(pair(text), id=i) for i, text in enumerate(("One?", "Two?"), 1))
    within = replace(pair("And then?"), id=3, turns=(Turn("user", "Hi"), Turn("assistant", "Ho")))
    found = examination.follow_ups([one, two, within], [one, two])
    assert [p.prompt for p in found] == ["One?", "And then?", "Two?"]
    assert found[0].turns == (Turn("user", "Two?"), Turn("assistant", "Yes."))
    assert examination.follow_ups([one], [one]) == []
