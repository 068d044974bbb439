"""The pocket base model: its size, reproducible builds, and answers that end."""

import hashlib
import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import transformers

from tools.pocket import corpus, facts, prose
from tools.pocket.build import PretrainingRecipe, build
from tools.pocket.phrasing import expand, gerund

SHIPPED = Path(__file__).parents[2] / "data" / "pocket"
TINY = PretrainingRecipe(
    steps=3,
    vocab_size=600,
    hidden_size=64,
    layers=2,
    heads=2,
    mlp_size=128,
    pool=20,
    tokenizer_chats=60,
    short_chats=4,
    long_tokens=256,
    threads=1,
)


@pytest.fixture(scope="module")
def tokenizer() -> "transformers.PreTrainedTokenizerFast":
    return transformers.AutoTokenizer.from_pretrained(SHIPPED)


@pytest.fixture(scope="module")
def model() -> "transformers.Qwen3ForCausalLM":
    return transformers.AutoModelForCausalLM.from_pretrained(SHIPPED, dtype=torch.float32)


def reply(model, tokenizer, messages: list[dict[str, str]]) -> tuple[str, bool]:
    """The greedy answer, and whether the model ended it."""
    ids = tokenizer.apply_chat_template(
        messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    new = model.generate(**ids, max_new_tokens=80)[0, ids["input_ids"].shape[1] :].tolist()
    return tokenizer.decode(new, skip_special_tokens=True), tokenizer.eos_token_id in new


def test_the_shipped_files_weigh_at_most_8_mb_and_hold_no_pickle() -> None:
    files = {path.name: path.stat().st_size for path in SHIPPED.iterdir()}
    assert sum(files.values()) <= 8_000_000
    assert {Path(name).suffix for name in files} <= {".safetensors", ".json", ".jinja", ".md"}
    assert {
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "README.md",
    } <= set(files)


def test_the_end_of_a_turn_is_not_the_padding(tokenizer) -> None:
    assert (tokenizer.pad_token, tokenizer.eos_token) == ("<|endoftext|>", "<|im_end|>")
    assert (tokenizer.pad_token_id, tokenizer.eos_token_id) == (0, 2)
    config = transformers.GenerationConfig.from_pretrained(SHIPPED)
    assert (config.pad_token_id, config.eos_token_id) == (0, 2)


@pytest.mark.parametrize(
    "text",
    [
        "Type `/understudy retrain` in #help-desk.",
        "adapters/helpdesk@3/x.safetensors 1,024 KB",
        "  naïve\n\t→ 你好 🎭",
    ],
)
def test_any_text_survives_the_tokenizer(tokenizer, text: str) -> None:
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_the_template_writes_chatml_and_marks_turns_with_the_special_ids(tokenizer) -> None:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    turns = ("<|im_start|>system\nBe brief.<|im_end|>", "<|im_start|>user\nHi<|im_end|>")
    assert text == "\n".join([*turns, "<|im_start|>assistant\n"])
    ids = tokenizer(text)["input_ids"]
    assert (ids.count(1), ids.count(2), ids[0]) == (3, 2, 1)


def test_a_conversation_without_system_prompt_starts_with_the_user(tokenizer) -> None:
    text = tokenizer.apply_chat_template([{"role": "user", "content": "Hi"}], tokenize=False)
    assert text == "<|im_start|>user\nHi<|im_end|>\n"


def test_one_seed_gives_one_corpus() -> None:
    def sample(seed: int) -> list[corpus.Chat]:
        rng = random.Random(seed)
        pool = corpus.pool_of(rng, 10)
        return [corpus.short_chat(rng, pool) for _ in range(20)] + [corpus.long_chat(rng, 3)]

    assert sample(1) == sample(1)
    assert sample(1) != sample(2)


def test_a_fact_has_many_phrasings_and_one_answer() -> None:
    rng = random.Random(4)
    fact = facts.make(rng)
    assert len({fact.ask(rng) for _ in range(50)}) > 15
    assert "{" not in fact.answer
    assert "[" not in fact.answer


def test_no_text_mentions_the_product_of_the_demo() -> None:
    rng = random.Random(0)
    chats = [turn.content for _ in range(300) for turn in corpus.long_chat(rng, 2)]
    assert "understudy" not in " ".join([*chats, *prose.paragraphs()]).lower()


def test_templates_pick_one_alternative_and_fill_in_values() -> None:
    found = {expand(random.Random(i), "[a|b[c|d]] {x}", {"x": "[y]"}) for i in range(40)}
    assert found == {"a [y]", "bc [y]", "bd [y]"}


@pytest.mark.parametrize(
    ("verb", "expected"),
    [("kick off", "kicking off"), ("make", "making"), ("stop", "stopping"), ("tie up", "tying up")],
)
def test_gerunds_of_verbs(verb: str, expected: str) -> None:
    assert gerund(verb) == expected


def test_the_same_seed_gives_the_same_weights_and_another_seed_does_not(tmp_path: Path) -> None:
    def digest(recipe: PretrainingRecipe, name: str) -> str:
        build(recipe, tmp_path / name)
        return hashlib.sha256((tmp_path / name / "model.safetensors").read_bytes()).hexdigest()

    first = digest(TINY, "first")
    assert digest(TINY, "again") == first
    assert digest(replace(TINY, seed=1), "other") != first


@pytest.mark.parametrize(
    "question", ["hello", "What is the capital of France?", "Where do I find the blue form?"]
)
def test_the_model_answers_a_simple_question_and_stops(model, tokenizer, question: str) -> None:
    text, ended = reply(model, tokenizer, [{"role": "user", "content": question}])
    assert ended
    assert 1 <= len(text.split()) <= 40
    assert text.isprintable()


def test_the_model_accepts_a_thousand_tokens(model) -> None:
    ids = torch.randint(3, model.config.vocab_size, (1, 1024))
    with torch.no_grad():
        logits = model(input_ids=ids, use_cache=False).logits
    assert logits.shape == (1, 1024, model.config.vocab_size)
    assert bool(logits.isfinite().all())
