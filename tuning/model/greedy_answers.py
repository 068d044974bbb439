"""Greedy answers of the model that is in memory, as token ids."""

from collections.abc import Sequence
from typing import Any

import torch

from tuning.model.base_model import Base


@torch.no_grad()
def generate(
    base: Base, model: Any, prompts: Sequence[tuple[int, ...]], max_new_tokens: int
) -> list[tuple[int, ...]]:
    """Greedy answers to one batch of prompts as token ids, each including its stop token. The model
    must be in evaluation mode. Rows are padded on the left, so that each continues after its last
    token."""
    longest = max(len(p) for p in prompts)
    ids = torch.full((len(prompts), longest), base.pad_id)
    mask = torch.zeros((len(prompts), longest), dtype=torch.long)
    for i, prompt in enumerate(prompts):
        ids[i, longest - len(prompt) :] = torch.tensor(prompt)
        mask[i, longest - len(prompt) :] = 1
    with base.precision():
        out = model.generate(
            input_ids=ids.to(base.device),
            attention_mask=mask.to(base.device),
            max_new_tokens=max_new_tokens,
            do_sample=False,
            repetition_penalty=1.0,  # the base's config may set one, which engines ignore
            use_cache=True,
            eos_token_id=sorted(base.stops),
            pad_token_id=base.pad_id,
        )
    answers = []
    for row in out[:, longest:].tolist():
        end = next((i + 1 for i, token in enumerate(row) if token in base.stops), len(row))
        answers.append(tuple(row[:end]))
    return answers
