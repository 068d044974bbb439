"""The default context holds a conversation: earlier turns, references, question and answer."""

import json
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from bot.answering.prompt import Prompt
from data.config.settings import Settings
from data.conversations.conversations import Message
from data.search.search import Reference
from serving.client import Sampling

ROOT = Path(__file__).parents[3]
ANSWERS_IN_USE = ROOT / "data" / "examples" / "helpdesk" / "advanced.jsonl"


def longest_pairs(count: int) -> list[tuple[str, str]]:
    """The pairs of the advanced help desk whose questions and answers are longest, one a fact:
    19 to 29 words an answer."""
    pairs = [json.loads(line) for line in ANSWERS_IN_USE.read_text().splitlines()]
    by_fact = {p["fact"]: (p["prompt"], p["response"]) for p in pairs}
    return sorted(by_fact.values(), key=lambda p: -len(p[0]) - len(p[1]))[:count]


@pytest.mark.parametrize("longest", ["turns", "references"])
def test_earlier_turns_references_and_an_answer_fit_into_the_default_context(longest: str) -> None:
    settings = Settings()
    turns, references = settings.bot.history_turns, settings.answers.references
    pairs = longest_pairs(turns + references)
    if longest == "references":
        pairs = pairs[::-1]
    history = [
        Message(role, text)
        for question, answer in pairs[:turns]
        for role, text in (("user", question), ("assistant", answer))
    ]
    prompt = Prompt(
        "You are the help desk. Answer in one or two sentences, from what you were given.",
        tuple(history),
        pairs[0][0],
        Sampling(settings.bot.max_tokens),
        settings.bot.max_tokens,
        tuple(Reference(number, *pair, "", 0.9, 0.9) for number, pair in enumerate(pairs[turns:])),
    )
    tokenizer = AutoTokenizer.from_pretrained(ROOT / "data" / "pocket")
    read = tokenizer.apply_chat_template(prompt.messages, add_generation_prompt=True)
    ids = read["input_ids"] if hasattr(read, "keys") else read

    assert turns == 6
    assert references > 0
    assert len(ids) + settings.bot.max_tokens <= settings.serving.max_model_len
