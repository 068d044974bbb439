"""The decision whether a question is answered, and the words of answers that no engine writes."""

from dataclasses import replace

import pytest

from bot.answering import grounding, small_talk, source_wording
from bot.answering.grounding import Grounds
from bot.answering.prompt import Ask, Prompt, build_prompt
from data.config.settings import AnswersSettings, BotSettings
from data.conversations.conversations import Message
from data.domains import Domain
from data.pairs.reply_sources import Source
from data.search import answerable
from data.search.domain_calibration import Thresholds
from data.search.search import Reference, SearchResult
from serving.client import Sampling

DOMAIN = Domain(1, "helpdesk", "the help desk", "", ("Who are you?",), 0.1, False)


def found(*similarities: float) -> SearchResult:
    references = tuple(
        Reference(n, f"Q{n}?", f"A{n}.", f"f{n}", s, s) for n, s in enumerate(similarities, 1)
    )
    return SearchResult(references, "encoder")


def grounds(*similarities: float, domain: Domain = DOMAIN, **more: object) -> Grounds:
    result = found(*similarities)
    sources = tuple(
        Source(r.pair_id, r.prompt, r.response, "", 0, r.similarity, r.score)
        for r in result.references
    )
    return Grounds(domain, result, sources, 0.4, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("similarities", "can_generate", "decision"),
    [
        ((), True, "decline"),
        ((0.39,), True, "decline"),
        ((0.39,), False, "decline"),
        ((0.4,), True, "generate"),
        ((0.4,), False, "quote"),
        ((0.9, 0.1), True, "generate"),
    ],
)
def test_the_best_pair_decides(
    similarities: tuple[float, ...], can_generate: bool, decision: str
) -> None:
    assert grounding.decide(found(*similarities), 0.4, can_generate=can_generate) == decision


@pytest.mark.parametrize(
    ("confidence", "outcome", "uncertain"),
    [(0.29, "declined", True), (0.3, None, True), (0.6, None, False), (None, "declined", False)],
)
def test_the_confidence_decides_where_it_is_known(
    confidence: float | None, outcome: str | None, uncertain: bool
) -> None:
    some = replace(grounds(0.2), thresholds=Thresholds(0.3, 0.6))
    some = replace(some, found=replace(some.found, confidence=confidence))

    assert some.without_engine == outcome
    assert some.uncertain is uncertain


def test_a_similarity_that_somebody_set_decides_instead() -> None:
    own = Domain(1, "a", "A", "", (), 0.1, False, decline_below=0.0)

    assert answerable.overridden(own, AnswersSettings())
    assert answerable.overridden(DOMAIN, AnswersSettings(decline_below=0.7))
    assert not answerable.overridden(DOMAIN, AnswersSettings())

    some = grounds(0.2)  # no thresholds of confidence
    sure = replace(some, found=replace(some.found, confidence=1.0))
    assert sure.without_engine == "declined"
    assert not sure.uncertain


def test_an_uncertain_answer_says_so() -> None:
    usual = source_wording.heading("quoted", 0)
    marked = source_wording.heading("quoted", 0, uncertain=True)

    assert marked == f"{source_wording.UNCERTAIN} {usual}"


def test_the_domain_overrides_the_settings() -> None:
    own = Domain(1, "a", "A", "", (), 0.1, False, answer_mode="adapter", decline_below=0.0)
    settings = AnswersSettings(decline_below=0.7)

    assert answerable.least_similarity("encoder", DOMAIN, AnswersSettings()) == 0.62
    assert answerable.least_similarity("words", DOMAIN, AnswersSettings()) == 0.4
    assert answerable.least_similarity("words", DOMAIN, settings) == 0.7
    assert answerable.least_similarity("words", own, settings) == 0.0
    assert answerable.mode(DOMAIN, settings) == "grounded"
    assert answerable.mode(DOMAIN, AnswersSettings(mode="quote")) == "quote"
    assert answerable.mode(own, settings) == "adapter"
    assert answerable.mode(DOMAIN, AnswersSettings(mode="adapter")) == "adapter"


def test_a_refusal_suggests_the_nearest_questions() -> None:
    assert grounds(0.36, 0.32, 0.28, 0.27, 0.1).suggestions == ("Q1?", "Q2?", "Q3?")
    assert grounds(0.3, 0.1).suggestions == ("Q1?",)


def test_a_refusal_without_near_questions_suggests_those_of_the_domain() -> None:
    assert grounds(0.1).suggestions == ("Who are you?",)
    assert grounds(0.1).sources_of("declined") == ()


def test_a_refusal_is_in_the_words_of_the_domain() -> None:
    own = Domain(1, "a", "A", "", (), 0.1, False, refusal="Ask the front desk.")

    assert grounds(domain=own).text("declined") == "Ask the front desk."
    assert "the help desk" in grounds().text("declined")


def test_a_quotation_rests_on_one_pair() -> None:
    some = grounds(0.9, 0.8)

    assert some.text("quoted") == "A1."
    assert [s.pair_id for s in some.sources_of("quoted")] == [1]
    assert [s.pair_id for s in some.sources_of("generated")] == [1, 2]


@pytest.mark.parametrize(
    ("similarity", "outcome", "engine_first"),
    [(0.39, "declined", "declined"), (0.4, "quoted", None)],
)
def test_in_quote_mode_no_engine_is_asked(
    similarity: float, outcome: str, engine_first: str | None
) -> None:
    assert grounds(similarity, only_quote=True).without_engine == outcome
    assert grounds(similarity).without_engine == engine_first


def test_what_continues_an_answer_is_never_declined() -> None:
    assert grounds(0.1).without_engine == "declined"
    assert grounds(0.1, may_decline=False).without_engine is None


@pytest.mark.parametrize(
    "text", ["Hello", "hi!", "Good morning 🙂", "Guten Tag.", "¡Hola!", "Grüß Gott", "OLÁ"]
)
def test_a_greeting_is_greeted(text: str) -> None:
    reply = "Hello! I answer questions about the help desk. What would you like to know?"
    assert small_talk.reply(text, DOMAIN) == reply


@pytest.mark.parametrize("text", ["Thanks!", "thank you so much", "ok", "Danke schön", "merci"])
def test_thanks_are_welcome(text: str) -> None:
    assert small_talk.reply(text, DOMAIN).startswith("You're welcome.")


@pytest.mark.parametrize(
    "text",
    ["", "?", "Thanks, and on Sundays?", "hello world program", "Who are you?", "ok " * 20, "42"],
)
def test_anything_else_is_a_question(text: str) -> None:
    assert small_talk.reply(text, DOMAIN) == ""


def test_references_are_dropped_from_the_last_before_the_history_and_the_best_after_it() -> None:
    turns = (Message("user", "Q"), Message("assistant", "A"))
    prompt: Prompt | None = Prompt(
        "", turns, "Why?", Sampling(max_tokens=300), 64, found(0.9, 0.8, 0.7).references
    )
    steps = []
    while prompt is not None:
        ids = tuple(r.pair_id for r in prompt.references)
        steps.append((prompt.sampling.max_tokens, ids, len(prompt.history)))
        prompt = prompt.shorter()

    assert steps == [
        (300, (1, 2, 3), 2),
        (150, (1, 2, 3), 2),
        (75, (1, 2, 3), 2),
        (64, (1, 2, 3), 2),
        (64, (1, 2), 2),
        (64, (1,), 2),
        (64, (1,), 0),
        (64, (), 0),
        (32, (), 0),
    ]


def said(*texts: str) -> list[Message]:
    return [Message("assistant" if n % 2 else "user", text) for n, text in enumerate(texts)]


@pytest.mark.parametrize(
    ("question", "earlier", "kept"),
    [
        (  # asked twice before, in other writing
            "How much is the deposit?",
            [
                *("how much is the deposit", "20 euro.", "Where?", "Here."),
                *("How much is the deposit ?", "20 euro."),
            ],
            ["Where?", "Here."],
        ),
        ("Why not?", ["Can I pay?", "No.", "Why not?", "Rules."], None),  # about what came before
        ("How much is the key?", ["How much is the deposit?", "20 euro."], None),
        ("How many are in box 2?", ["How many are in box 3?", "Four."], None),
    ],
)
def test_a_repeated_question_is_asked_as_if_for_the_first_time(
    question: str, earlier: list[str], kept: list[str] | None
) -> None:
    ask = Ask(person="cli:ann", thread="t", text=question, domain=DOMAIN)
    made = build_prompt(ask, DOMAIN, None, said(*earlier), BotSettings())
    assert [m.text for m in made.history] == (earlier if kept is None else kept)
    assert made.messages[-1]["content"] == question
