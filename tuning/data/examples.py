"""Examples: a pair as the token ids that are trained on, loss on what is answered alone.

The prompt is rendered by the base model's own chat template exactly as the engine renders it to
answer (`add_generation_prompt`), and the response is tokenised after it, so what is trained is
token for token what is generated later. Labels are -100 on the prompt and the ids themselves on
the response, the stop token included: without it the adapter would never learn to end. Answers in
the turns before are learned too where `loss_turns` is "all"; the ids are the same either way.

Faults that would waste a run in silence are found here, before the first step, and name the pair.
"""

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from data.pairs.pairs import Pair
from data.store.errors import Invalid
from tuning.recipe.recipe import LossTurns

IGNORED = -100  # the label that PyTorch's cross entropy skips
SHOWN = 5  # faults that an error lists


class BadPairs(Invalid):
    """Pairs that cannot be trained on; nothing was."""


@dataclass(frozen=True)
class Example:
    """One pair as token ids. `labels[i]` is what position i itself holds, as in transformers."""

    pair_id: int
    ids: tuple[int, ...]
    labels: tuple[int, ...]

    @property
    def prompt(self) -> tuple[int, ...]:
        """The ids that an engine is given to answer from."""
        return self.ids[: len(self.ids) - self.answered]

    @property
    def answered(self) -> int:
        """Tokens of the response: the last labels without a gap."""
        return next((i for i, label in enumerate(reversed(self.labels)) if label == IGNORED), 0)

    @property
    def trained(self) -> int:
        """How many tokens carry loss."""
        return sum(label != IGNORED for label in self.labels)


@dataclass(frozen=True)
class Batch:
    """One forward pass. Padded on the right: causal attention never looks there, so there is no
    mask. `weights` counts how often a token's example stands in the window."""

    ids: Tensor  # (rows, tokens)
    labels: Tensor  # (rows, tokens)
    weights: Tensor  # (rows, tokens)
    tokens: int  # labelled ones, each counted as often as its weight
    positions: Tensor | None = None  # (rows, tokens), where a row holds several examples


def messages(pair: Pair, system_prompt: str) -> list[dict[str, str]]:
    """What is said before the response, as the engine gets it."""
    system = pair.system or system_prompt
    said = [{"role": "system", "content": system}] if system else []
    said += [{"role": turn.role, "content": turn.content} for turn in pair.turns]
    return [*said, {"role": "user", "content": pair.prompt}]


def prompt_ids(tokenizer: Any, said: list[dict[str, str]]) -> list[int]:
    """The ids from which an answer is generated: what the engine renders for the same messages."""
    text = tokenizer.apply_chat_template(said, tokenize=False, add_generation_prompt=True)
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def encode(
    pair: Pair,
    tokenizer: Any,
    *,
    system_prompt: str,
    stops: frozenset[int],
    max_length: int,
    loss_turns: LossTurns = "last",
) -> Example:
    """The example of one pair. Raises Invalid with the reason when it cannot be trained on."""
    said = messages(pair, system_prompt)
    for message in [*said, {"role": "assistant", "content": pair.response}]:
        _refuse_control_tokens(tokenizer, message)
    before = tokenizer.apply_chat_template(said, tokenize=False, add_generation_prompt=True)
    whole = tokenizer.apply_chat_template(
        [*said, {"role": "assistant", "content": pair.response}], tokenize=False
    )
    if not whole.startswith(before):
        raise Invalid(
            "the base model's chat template renders the prompt differently once the response "
            "follows, so training would not match answering"
        )
    prompt = prompt_ids(tokenizer, said)
    response = list(tokenizer(whole[len(before) :], add_special_tokens=False)["input_ids"])
    last_stop = max((i for i, token in enumerate(response) if token in stops), default=None)
    if last_stop is None:
        raise Invalid("the base model's chat template ends the response without a stop token")
    response = response[: last_stop + 1]  # what a template puts after the end is never generated
    if len(response) < 2:
        raise Invalid("nothing of the response is left to learn from")
    if len(prompt) + len(response) > max_length:
        cut = "all of its response" if len(prompt) >= max_length else "the end of its response"
        raise Invalid(
            f"it has {len(prompt) + len(response):,} tokens and max_length is {max_length:,}: "
            f"{cut} would be cut off"
        )
    labels = [IGNORED] * len(prompt)
    if loss_turns == "all":
        labels = _earlier_answers(tokenizer, said, before, prompt, stops)
    return Example(pair.id, tuple(prompt + response), tuple(labels + response))


def _earlier_answers(
    tokenizer: Any,
    said: list[dict[str, str]],
    before: str,
    prompt: list[int],
    stops: frozenset[int],
) -> list[int]:
    """Labels of the prompt: the ids of each answer in it with its stop token, IGNORED elsewhere.
    `before` is the prompt's text. Raises Invalid where an answer cannot be found in it."""
    labels = [IGNORED] * len(prompt)
    if not tokenizer.is_fast:
        raise Invalid("loss_turns is all, and this tokenizer does not tell where its tokens are")
    places = tokenizer(before, add_special_tokens=False, return_offsets_mapping=True)
    for i, message in enumerate(said):
        if message["role"] != "assistant":
            continue
        asked = tokenizer.apply_chat_template(said[:i], tokenize=False, add_generation_prompt=True)
        answered = tokenizer.apply_chat_template(said[: i + 1], tokenize=False)
        if not (before.startswith(answered) and answered.startswith(asked)):
            raise Invalid(
                "loss_turns is all, but the base model's chat template renders earlier answers "
                "differently from the last one, so training on them would not match answering"
            )
        span = [
            at
            for at, (start, end) in enumerate(places["offset_mapping"])
            if len(asked) <= start < end <= len(answered)
        ]
        last = max((at for at in span if prompt[at] in stops), default=None)
        if last is None:
            raise Invalid("an earlier answer would be learned without its stop token")
        for at in span:
            if at <= last:
                labels[at] = prompt[at]
    return labels


def encode_all(
    pairs: Iterable[Pair],
    tokenizer: Any,
    *,
    system_prompt: str,
    stops: frozenset[int],
    max_length: int,
    loss_turns: LossTurns = "last",
) -> list[Example]:
    """The examples of all pairs, in order. Raises BadPairs naming those that cannot be used."""
    if tokenizer.chat_template is None:
        raise Invalid(
            "The base model's tokenizer has no chat template, so it cannot be talked to. "
            "Use an instruction-tuned base model."
        )
    if not stops:
        raise Invalid("The base model names no token that ends an answer (eos_token).")
    made, faults = [], []
    for pair in pairs:
        try:
            made.append(
                encode(
                    pair,
                    tokenizer,
                    system_prompt=system_prompt,
                    stops=stops,
                    max_length=max_length,
                    loss_turns=loss_turns,
                )
            )
        except Invalid as error:
            faults.append(f"pair {pair.id}: {error}")
    if faults:
        more = f" (and {len(faults) - SHOWN} more)" if len(faults) > SHOWN else ""
        raise BadPairs(
            f"Nothing was trained, because of {'; '.join(faults[:SHOWN])}{more}. "
            "Reject or shorten what is named, then ask again."
        )
    return made


def check(examples: Sequence[Example], stops: frozenset[int]) -> None:
    """The last look before the first step: raises Invalid for what training would not notice."""
    if not examples:
        raise Invalid("There is nothing to train on.")
    for example in examples:
        if not example.trained:
            raise BadPairs(f"pair {example.pair_id}: no token of it would be learned")
        if example.labels[-1] not in stops:
            raise BadPairs(f"pair {example.pair_id}: the stop token would not be learned")
        learned = zip(example.labels, example.ids, strict=True)
        if any(label not in (IGNORED, token) for label, token in learned):
            raise BadPairs(f"pair {example.pair_id}: its labels are not its response")
        if example.labels[0] != IGNORED:
            raise BadPairs(f"pair {example.pair_id}: there is nothing before its response")


def windows(examples: Sequence[Example], batch_size: int, seed: int) -> list[list[Example]]:
    """One epoch in a random order: lists of `batch_size` examples, of similar lengths each, the
    last one perhaps shorter."""
    rng = random.Random(seed)  # noqa: S311 - an order, not a secret
    order = list(examples)
    rng.shuffle(order)
    pool = batch_size * 8  # sorted by length within pools, so order stays random on the whole
    made: list[list[Example]] = []
    for start in range(0, len(order), pool):
        near = sorted(order[start : start + pool], key=lambda e: len(e.ids))
        made += [near[i : i + batch_size] for i in range(0, len(near), batch_size)]
    rng.shuffle(made)
    return made


def batches(
    window: Sequence[Example], micro_tokens: int, pad_id: int, device: str | torch.device = "cpu"
) -> list[Batch]:
    """A window as forward passes of at most `micro_tokens` padded tokens (or one row).

    An example that stands in the window several times is computed once and weighted."""
    counts = Counter(window)
    rows = sorted(counts, key=lambda e: len(e.ids))
    groups: list[list[Example]] = [[]]
    for row in rows:
        if groups[-1] and len(row.ids) * (len(groups[-1]) + 1) > micro_tokens:
            groups.append([])
        groups[-1].append(row)
    return [_batch(group, counts, pad_id, device) for group in groups if group]


def _batch(
    rows: list[Example], counts: Counter[Example], pad_id: int, device: str | torch.device
) -> Batch:
    longest = max(len(row.ids) for row in rows)
    ids = torch.full((len(rows), longest), pad_id)
    labels = torch.full((len(rows), longest), IGNORED)
    for i, row in enumerate(rows):
        ids[i, : len(row.ids)] = torch.tensor(row.ids)
        labels[i, : len(row.ids)] = torch.tensor(row.labels)
    weights = torch.tensor([[float(counts[row])] for row in rows]).expand(ids.shape)
    tokens = sum(row.trained * counts[row] for row in rows)
    return Batch(ids.to(device), labels.to(device), weights.to(device), tokens)


def _refuse_control_tokens(tokenizer: Any, message: dict[str, str]) -> None:
    """A text that spells a control token would end or begin a turn in the middle of a pair; one
    that cannot be spelled would be learned as a token that stands for anything."""
    found = set(tokenizer(message["content"], add_special_tokens=False)["input_ids"])
    special = found & set(tokenizer.all_special_ids)
    if special:
        spelled = tokenizer.convert_ids_to_tokens(min(special))
        name = "response" if message["role"] == "assistant" else f"{message['role']}'s text"
        if spelled == tokenizer.unk_token and spelled not in message["content"]:
            raise Invalid(f"the {name} has characters that the base model's tokenizer cannot spell")
        raise Invalid(f"the {name} contains {spelled}, a control token of the base model")
