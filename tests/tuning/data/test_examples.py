"""Pairs as token ids: loss only on the response and its stop token; early errors."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from tokenizers import AddedToken, Tokenizer
from tokenizers.models import BPE, WordLevel
from tokenizers.pre_tokenizers import Metaspace, Whitespace
from transformers import PreTrainedTokenizerFast

from data.pairs.pairs import Pair
from data.store.errors import Invalid
from tuning.data import examples
from tuning.data.examples import IGNORED, BadPairs, Example, batches, encode_all, windows

MakePair = Callable[..., Pair]
STOPS = frozenset({2})  # <|im_end|>


def encode(tokenizer: Any, *pairs: Pair, max_length: int = 128, system: str = "") -> list[Example]:
    return encode_all(pairs, tokenizer, system_prompt=system, stops=STOPS, max_length=max_length)


def test_loss_is_on_the_response_and_its_stop_token_and_on_nothing_else(
    tokenizer: Any, pair: MakePair
) -> None:
    (example,) = encode(tokenizer, pair("Where is the key?", "Under the mat."), system="Be brief.")

    learned = [token for token in example.labels if token != IGNORED]
    assert tokenizer.decode(learned) == "Under the mat.<|im_end|>"
    assert tokenizer.decode(example.prompt) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n"
        "<|im_start|>user\nWhere is the key?<|im_end|>\n<|im_start|>assistant\n"
    )
    assert list(example.ids) == [*example.prompt, *learned]


def test_the_prompt_has_the_same_tokens_as_in_an_engine(tokenizer: Any, pair: MakePair) -> None:
    asked = pair("And now?", "Still there.", turns=[("user", "Hi"), ("assistant", "Hello!")])
    (example,) = encode(tokenizer, asked, system="Be brief.")

    rendered = tokenizer.apply_chat_template(
        [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "Hello!"},
            {"role": "user", "content": "And now?"},
        ],
        add_generation_prompt=True,
    )["input_ids"]
    assert list(example.prompt) == list(rendered)


def test_a_pairs_own_system_prompt_takes_precedence_over_the_domains(
    tokenizer: Any, pair: MakePair
) -> None:
    (example,) = encode(tokenizer, pair("a", "b", system="Own."), system="The domain's.")

    assert "Own." in tokenizer.decode(example.prompt)
    assert "The domain's." not in tokenizer.decode(example.prompt)


def test_a_pair_that_does_not_fit_is_named_with_what_would_be_lost(
    tokenizer: Any, pair: MakePair
) -> None:
    fits, long = pair("a", "b", id=1), pair("a " * 50, "b", id=7)

    with pytest.raises(BadPairs) as refused:
        encode(tokenizer, fits, long, max_length=40)

    assert "pair 7: it has" in str(refused.value)
    assert "all of its response would be cut off" in str(refused.value)
    assert "pair 1:" not in str(refused.value)


def test_many_bad_pairs_are_counted_and_only_a_few_are_listed(
    tokenizer: Any, pair: MakePair
) -> None:
    with pytest.raises(BadPairs, match=r"\(and 4 more\)"):
        encode(tokenizer, *(pair("a " * 50, "b", id=i) for i in range(9)), max_length=40)


def test_a_response_that_spells_a_control_token_is_refused(tokenizer: Any, pair: MakePair) -> None:
    with pytest.raises(BadPairs) as refused:
        encode(tokenizer, pair("hi", "yes<|im_end|>no", id=5))

    assert "pair 5:" in str(refused.value)
    assert "the response" in str(refused.value)
    assert "control token" in str(refused.value)


@pytest.mark.parametrize("token", ["<|im_start|>", "<|im_end|>", "<tool_call>"])
def test_a_control_token_in_a_prompt_begins_and_ends_no_turn(
    tokenizer: Any, pair: MakePair, token: str
) -> None:
    """Neither do added tokens that the tokenizer does not list as special."""
    other = copy.deepcopy(tokenizer)
    other.add_tokens([AddedToken("<tool_call>", special=False)])
    harmful = other.convert_tokens_to_ids(token)
    assert harmful in other(token)["input_ids"]
    before = ("user", f"x{token}"), ("assistant", f"y{token}")

    (plain,) = encode(other, pair("hi system", "x", turns=(("user", "x"), ("assistant", "y"))))
    (made,) = encode(other, pair(f"hi {token}system", "x", turns=before))

    assert made.ids.count(harmful) == plain.ids.count(harmful)
    assert "system" in other.decode(made.prompt)


class Templated:
    """The tokenizer with another chat template."""

    def __init__(self, tokenizer: Any, template: str | None) -> None:
        self._tokenizer, self.chat_template = tokenizer, template

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tokenizer, name)

    def __call__(self, *args: Any, **more: Any) -> Any:
        return self._tokenizer(*args, **more)

    def apply_chat_template(self, *args: Any, **more: Any) -> Any:
        return self._tokenizer.apply_chat_template(*args, **more, chat_template=self.chat_template)


def test_a_template_that_changes_the_prompt_afterwards_is_refused(
    tokenizer: Any, pair: MakePair
) -> None:
    counting = "{{ messages | length }}{% for m in messages %}{{ m.content }}<|im_end|>{% endfor %}"

    with pytest.raises(BadPairs, match="renders the prompt differently"):
        encode(Templated(tokenizer, counting), pair("a", "b"))


def test_a_template_that_never_stops_is_refused(tokenizer: Any, pair: MakePair) -> None:
    endless = "{% for m in messages %}{{ m.content }}\n{% endfor %}"

    with pytest.raises(BadPairs, match="without a stop token"):
        encode(Templated(tokenizer, endless), pair("a", "b"))


def test_a_base_without_a_template_is_refused(tokenizer: Any, pair: MakePair) -> None:
    with pytest.raises(Invalid, match="no chat template"):
        encode(Templated(tokenizer, None), pair("a", "b"))


@pytest.mark.parametrize(
    ("example", "words"),
    [
        (Example(4, (5, 6, 2), (IGNORED,) * 3), "pair 4: no token would be learned"),
        (Example(4, (5, 6, 2), (IGNORED, 6, IGNORED)), "pair 4: the stop token"),
        (Example(4, (5, 6, 7), (IGNORED, 6, 7)), "pair 4: the stop token"),
        (Example(4, (5, 6, 2), (IGNORED, 9, 2)), "pair 4: its labels are not its response"),
    ],
)
def test_the_final_check_finds_labels_without_effect(example: Example, words: str) -> None:
    with pytest.raises(BadPairs, match=words):
        examples.check([example], STOPS)


def test_nothing_to_train_on_is_refused() -> None:
    with pytest.raises(Invalid, match="nothing to train on"):
        examples.check([], STOPS)


def test_a_stop_token_that_is_also_the_padding_token_keeps_its_label(
    tokenizer: Any, pair: MakePair
) -> None:
    made = encode(tokenizer, pair("a", "b", id=1), pair("a", "a much longer answer", id=2))

    (batch,) = batches(made, micro_tokens=1000, pad_id=2)

    assert (batch.labels == 2).sum(dim=1).tolist() == [1, 1]
    assert batch.tokens == sum(e.trained for e in made)


def example(length: int, pair_id: int = 1) -> Example:
    return Example(pair_id, tuple(range(3, 3 + length)), (IGNORED, *range(4, 3 + length)))


def test_an_epoch_has_every_example_once_in_the_order_of_the_seed() -> None:
    some = [example(5 + i % 7, i) for i in range(50)]

    first, again, other = (windows(some, 8, seed) for seed in (1, 1, 2))

    assert sorted(e.pair_id for w in first for e in w) == list(range(50))
    assert [len(w) for w in first].count(8) == 6
    assert first == again
    assert first != other


def test_a_window_is_split_into_passes_within_the_token_limit() -> None:
    window = [example(length, length) for length in (4, 30, 5, 31, 6)]

    passes = batches(window, micro_tokens=64, pad_id=0)

    assert [tuple(p.ids.shape) for p in passes] == [(3, 6), (2, 31)]
    assert sum(p.tokens for p in passes) == sum(e.trained for e in window)


def test_a_repeated_example_is_computed_once_and_counts_as_often() -> None:
    (batch,) = batches([example(5), example(5), example(6, 2)], micro_tokens=64, pad_id=0)

    assert tuple(batch.ids.shape) == (2, 6)
    assert batch.weights[:, 0].tolist() == [2.0, 1.0]
    assert batch.tokens == 4 + 4 + 5
    assert torch.equal(batch.labels[0], torch.tensor([IGNORED, 4, 5, 6, 7, IGNORED]))


TURNS = [("user", "Hi"), ("assistant", "Hello!"), ("user", "Well?"), ("assistant", "Yes.")]


def test_with_loss_turns_all_every_answer_is_learned_with_its_stop_token(
    tokenizer: Any, pair: MakePair
) -> None:
    asked = pair("And now?", "Still there.", turns=TURNS)
    (last,) = encode(tokenizer, asked, system="Be brief.")
    (every,) = encode_all(
        [asked], tokenizer, system_prompt="Be brief.", stops=STOPS, max_length=128,
        loss_turns="all",
    )  # fmt: skip

    assert every.ids == last.ids
    assert every.prompt == last.prompt
    assert tokenizer.decode([t for t in last.labels if t != IGNORED]) == "Still there.<|im_end|>"
    assert tokenizer.decode([t for t in every.labels if t != IGNORED]) == (
        "Hello!<|im_end|>Yes.<|im_end|>Still there.<|im_end|>"
    )
    examples.check([every], STOPS)


def test_a_template_that_renders_earlier_answers_differently_is_refused_for_all_of_them(
    tokenizer: Any, pair: MakePair
) -> None:
    """As those do that drop what a model has thought from all answers but the last."""
    forgetful = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n"
        "{{ m.content if m.role == 'user' or loop.last else m.content | upper }}<|im_end|>\n"
        "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    asked = pair("And now?", "Still there.", id=6, turns=TURNS)

    with pytest.raises(
        BadPairs, match=r"pair 6: loss_turns is all, but .* renders earlier answers"
    ):
        encode_all(
            [asked], Templated(tokenizer, forgetful), system_prompt="", stops=STOPS,
            max_length=128, loss_turns="all",
        )  # fmt: skip


def test_an_earlier_answer_without_its_stop_token_is_refused(
    tokenizer: Any, pair: MakePair
) -> None:
    once = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}"
        "{% if loop.index == 5 + (messages[0].role == 'system') + 1 %}<|im_end|>{% endif %}\n"
        "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    asked = pair("And now?", "Still there.", id=6, turns=TURNS)

    with pytest.raises(BadPairs, match="pair 6: an earlier answer would be learned without"):
        encode_all(
            [asked], Templated(tokenizer, once), system_prompt="", stops=STOPS,
            max_length=128, loss_turns="all",
        )  # fmt: skip


def test_a_response_that_the_tokenizer_cannot_spell_is_refused(pair: MakePair) -> None:
    words = Tokenizer(WordLevel({"<unk>": 0, "<|im_end|>": 2, "a": 3}, unk_token="<unk>"))
    words.pre_tokenizer = Whitespace()
    poor = PreTrainedTokenizerFast(
        tokenizer_object=words,
        unk_token="<unk>",
        eos_token="<|im_end|>",
        chat_template="{% for m in messages %}a {{ m.content }}<|im_end|>{% endfor %}"
        "{% if add_generation_prompt %}a {% endif %}",
    )

    with pytest.raises(BadPairs, match="pair 3: the response has characters that"):
        encode(poor, pair("a", "a b", id=3))


def test_labels_without_a_prompt_are_refused() -> None:
    with pytest.raises(BadPairs, match="pair 4: there is nothing before its response"):
        examples.check([Example(4, (5, 6, 2), (5, 6, 2))], STOPS)


def test_a_pair_that_the_template_refuses_is_named(tokenizer: Any, pair: MakePair) -> None:
    strict = copy.deepcopy(tokenizer)
    strict.chat_template = (
        "{% if messages|length > 2 %}{{ raise_exception('only one question') }}{% endif %}"
        + tokenizer.chat_template
    )
    talk = pair("And now?", "Still there.", turns=[("user", "Hi"), ("assistant", "Hello!")])

    with pytest.raises(BadPairs, match=rf"pair {talk.id}: .* refuses it: only one question"):
        encode(strict, pair("Where?", "There."), talk)


@pytest.mark.parametrize("frame", ["User: {}\nBot:", "<s>{}</s>\n", "{} >"])
def test_a_tokenizer_that_prepends_a_space_teaches_none(pair: MakePair, frame: str) -> None:
    """Llama 2's tokenizer does (`add_prefix_space`)."""
    letters = [chr(n) for n in range(33, 127)]
    vocabulary = {text: n for n, text in enumerate(["<unk>", "<s>", "</s>", "\n", "▁", *letters])}
    made = Tokenizer(BPE(vocabulary, merges=[], unk_token="<unk>"))
    made.pre_tokenizer = Metaspace(prepend_scheme="always")
    made.add_special_tokens(["<s>", "</s>"])
    prepending = PreTrainedTokenizerFast(
        tokenizer_object=made, unk_token="<unk>", bos_token="<s>", eos_token="</s>"
    )
    prepending.chat_template = frame.replace("{}", "{{ messages[0].content }}") + (
        "{% if messages|length > 1 %}{{ messages[1].content }}</s>{% endif %}"
    )
    asked = pair("Where?", "There.")
    (example,) = encode(prepending, asked)

    whole = frame.format("Where?") + "There.</s>"
    assert list(example.ids) == prepending(whole, add_special_tokens=False)["input_ids"]
    learned = [token for token in example.labels if token != IGNORED]
    assert prepending.convert_ids_to_tokens(learned) == [*"There.", "</s>"]
