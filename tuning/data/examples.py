"""Examples: a pair as token ids, with loss on its response only.

The base model's own chat template renders the prompt exactly as the engine renders it
(`add_generation_prompt`), and the response has the ids that follow in the whole text. So training
uses the same tokens as generation. Labels are -100 on the prompt and the ids on the response,
including the stop token: without it the adapter would never learn to stop. With `loss_turns` "all",
earlier answers of the conversation are learned, too; the ids are the same either way.

Errors that would otherwise waste a run without notice are found here, before the first step, and
name the pair.
"""

import random
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from data.pairs.pairs import Pair
from data.search import layout
from data.store.errors import Invalid
from tuning.model import chat_template
from tuning.recipe.recipe import LossTurns

IGNORED = -100  # the label that PyTorch's cross entropy skips
SHOWN = 5  # faulty pairs that an error lists


class BadPairs(Invalid):
    """Some pairs are unusable; nothing was trained."""


class TooLong(Invalid):
    """The pair has more tokens than the recipe allows."""


@dataclass(frozen=True)
class Example:
    """One pair as token ids. `labels[i]` belongs to position i itself, as in transformers."""

    pair_id: int
    ids: tuple[int, ...]
    labels: tuple[int, ...]

    @property
    def prompt(self) -> tuple[int, ...]:
        """The ids of the prompt, as an engine gets it."""
        return self.ids[: len(self.ids) - self.answered]

    @property
    def answered(self) -> int:
        """Tokens of the response: the uninterrupted labels at the end."""
        return next((i for i, label in enumerate(reversed(self.labels)) if label == IGNORED), 0)

    @property
    def trained(self) -> int:
        """How many tokens carry loss."""
        return sum(label != IGNORED for label in self.labels)


@dataclass(frozen=True)
class Batch:
    """One forward pass. Rows are padded on the right, where causal attention never looks, so there
    is no mask. `weights` is how often a token's example is in the window."""

    ids: Tensor  # (rows, tokens)
    labels: Tensor  # (rows, tokens)
    weights: Tensor  # (rows, tokens)
    tokens: int  # labelled ones, each counted as often as its weight
    positions: Tensor | None = None  # (rows, tokens), where a row holds several examples


def messages(
    pair: Pair, system_prompt: str, control_tokens: Collection[str] = ()
) -> list[dict[str, str]]:
    """The messages before the response, as the engine gets them: control tokens that their text
    spells are made harmless."""
    system = pair.system or system_prompt
    said = [{"role": "system", "content": system}] if system else []
    said += [{"role": turn.role, "content": turn.content} for turn in pair.turns]
    said += [{"role": "user", "content": pair.prompt}]
    return [{**one, "content": layout.harmless(one["content"], control_tokens)} for one in said]


def _rendered(
    tokenizer: Any, said: list[dict[str, str]], *, add_generation_prompt: bool = False
) -> str:
    """The messages as text. Raises Invalid where the chat template refuses them, such as two
    questions in a row, or fails: it is a program of the base's authors."""
    try:
        text = tokenizer.apply_chat_template(
            said, tokenize=False, add_generation_prompt=add_generation_prompt
        )
    except Exception as error:
        raise Invalid(f"the base model's chat template refuses it: {error}") from error
    return str(text)


def prompt_ids(tokenizer: Any, said: list[dict[str, str]]) -> list[int]:
    """The ids of the prompt: the same that the engine renders from the messages. Raises Invalid
    where the chat template refuses them."""
    text = _rendered(tokenizer, said, add_generation_prompt=True)
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
    """The example of one pair. Raises Invalid with the reason when the pair is unusable."""
    control = chat_template.control_tokens(tokenizer)
    said = messages(pair, system_prompt, control)
    for message in [*said, {"role": "assistant", "content": pair.response}]:
        _refuse_control_tokens(tokenizer, message, control)
    before = _rendered(tokenizer, said, add_generation_prompt=True)
    whole = _rendered(tokenizer, [*said, {"role": "assistant", "content": pair.response}])
    if not whole.startswith(before):
        raise Invalid(
            "the base model's chat template renders the prompt differently once the response "
            "follows, so training would not match answering"
        )
    prompt = prompt_ids(tokenizer, said)
    response = _ids_after(tokenizer, prompt, before, whole)
    last_stop = max((i for i, token in enumerate(response) if token in stops), default=None)
    if last_stop is None:
        raise Invalid("the base model's chat template ends the response without a stop token")
    response = response[
        : last_stop + 1
    ]  # text of the template after the stop token is never generated
    if len(response) < 2:
        raise Invalid("the response has no tokens to learn from")
    if len(prompt) + len(response) > max_length:
        cut = "all of its response" if len(prompt) >= max_length else "the end of its response"
        raise TooLong(
            f"it has {len(prompt) + len(response):,} tokens and max_length is {max_length:,}: "
            f"{cut} would be cut off"
        )
    labels = [IGNORED] * len(prompt)
    if loss_turns == "all":
        labels = _earlier_answers(tokenizer, said, before, prompt, stops)
    return Example(pair.id, tuple(prompt + response), tuple(labels + response))


def _ids_after(tokenizer: Any, prompt: list[int], before: str, whole: str) -> list[int]:
    """The ids that follow those of the prompt in the whole text. A text of its own would begin with
    a space where the tokenizer prepends one (Llama 2), which the adapter would learn."""
    ids = list(tokenizer(whole, add_special_tokens=False)["input_ids"])
    if ids[: len(prompt)] == prompt:
        return ids[len(prompt) :]
    # the end of the prompt and the start of the response make one token, which no engine sees
    anchor = before[-1:]
    alone, joined = (
        list(tokenizer(text, add_special_tokens=False)["input_ids"])
        for text in (anchor, anchor + whole[len(before) :])
    )
    if joined[: len(alone)] == alone:
        return joined[len(alone) :]
    return list(tokenizer(whole[len(before) :], add_special_tokens=False)["input_ids"])


def _earlier_answers(
    tokenizer: Any,
    said: list[dict[str, str]],
    before: str,
    prompt: list[int],
    stops: frozenset[int],
) -> list[int]:
    """Labels of the prompt: the ids of each earlier answer with its stop token, IGNORED elsewhere.
    `before` is the text of the prompt. Raises Invalid when an answer cannot be located in it."""
    labels = [IGNORED] * len(prompt)
    if not tokenizer.is_fast:
        raise Invalid(
            "loss_turns is all, and this tokenizer does not report the positions of tokens"
        )
    places = tokenizer(before, add_special_tokens=False, return_offsets_mapping=True)
    for i, message in enumerate(said):
        if message["role"] != "assistant":
            continue
        asked = _rendered(tokenizer, said[:i], add_generation_prompt=True)
        answered = _rendered(tokenizer, said[: i + 1])
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
    """The examples of all pairs, in order. Raises BadPairs, naming unusable pairs."""
    if tokenizer.chat_template is None:
        raise Invalid(
            "The tokenizer of the base model has no chat template, so the model cannot chat. "
            "Use an instruction-tuned base model."
        )
    if not stops:
        raise Invalid("The base model has no token that ends an answer (eos_token).")
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
            "Reject or shorten these pairs, then request the run again."
        )
    return made


def check(examples: Sequence[Example], stops: frozenset[int]) -> None:
    """Raises Invalid for errors that training would not notice. Called before the first step."""
    if not examples:
        raise Invalid("There is nothing to train on.")
    for example in examples:
        if not example.trained:
            raise BadPairs(f"pair {example.pair_id}: no token would be learned")
        if example.labels[-1] not in stops:
            raise BadPairs(f"pair {example.pair_id}: the stop token would not be learned")
        learned = zip(example.labels, example.ids, strict=True)
        if any(label not in (IGNORED, token) for label, token in learned):
            raise BadPairs(f"pair {example.pair_id}: its labels are not its response")
        if example.labels[0] != IGNORED:
            raise BadPairs(f"pair {example.pair_id}: there is nothing before its response")


def windows(examples: Sequence[Example], batch_size: int, seed: int) -> list[list[Example]]:
    """One epoch in random order: lists of `batch_size` examples of similar lengths. The last list
    may be shorter."""
    rng = random.Random(seed)  # noqa: S311 - an order, not a secret
    order = list(examples)
    rng.shuffle(order)
    pool = batch_size * 8  # sorted by length only within pools, so that the order stays random
    made: list[list[Example]] = []
    for start in range(0, len(order), pool):
        near = sorted(order[start : start + pool], key=lambda e: len(e.ids))
        made += [near[i : i + batch_size] for i in range(0, len(near), batch_size)]
    rng.shuffle(made)
    return made


def batches(
    window: Sequence[Example], micro_tokens: int, pad_id: int, device: str | torch.device = "cpu"
) -> list[Batch]:
    """Split a window into forward passes of at most `micro_tokens` padded tokens (or one row).

    An example that is in the window several times is computed once and weighted."""
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


def _refuse_control_tokens(
    tokenizer: Any, message: dict[str, str], control_tokens: Collection[str]
) -> None:
    """Raises Invalid for a text that spells a control token, which would end or begin a turn inside
    a pair, and for characters that the tokenizer can only encode as an unknown token."""
    name = "response" if message["role"] == "assistant" else f"{message['role']}'s text"
    spelled = next((token for token in sorted(control_tokens) if token in message["content"]), "")
    found = set(tokenizer(message["content"], add_special_tokens=False)["input_ids"])
    special = found & set(tokenizer.all_special_ids)
    if special and not spelled:
        spelled = tokenizer.convert_ids_to_tokens(min(special))
        if spelled == tokenizer.unk_token and spelled not in message["content"]:
            raise Invalid(
                f"the {name} has characters that the base model's tokenizer cannot encode"
            )
    if spelled:
        raise Invalid(f"the {name} contains {spelled}, a control token of the base model")
