"""Train the pocket base model and write it to a folder that transformers and vLLM load.

Each training step uses a batch of short chats, one per row, and a batch of packed long texts of 256
to 1,024 tokens. The optimizer is Muon for the hidden matrices (orthogonalised momentum,
https://kellerjordan.github.io/posts/muon), which needs about half as many steps as AdamW at this
size, and AdamW for all other parameters.
"""

import json
import logging
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy
from transformers import GenerationConfig, PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from tools.pocket import corpus, tokenizer
from tools.pocket.facts import MadeUpFact

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PretrainingRecipe:
    """Everything that determines the weights, except the version of Python."""

    seed: int = 0
    threads: int = 2
    steps: int = 900
    vocab_size: int = 4096
    hidden_size: int = 256
    layers: int = 3
    heads: int = 8
    mlp_size: int = 768
    pool: int = 800
    tokenizer_chats: int = 6000
    short_chats: int = 48
    long_tokens: int = 1024
    short_share: float = 0.6
    prompt_weight: float = 0.25
    muon_rate: float = 0.02
    adam_rate: float = 3e-3
    warmup: float = 0.03
    cooldown: float = 0.5


@dataclass(frozen=True)
class PretrainingBatch:
    """Token ids `(rows, tokens)` and the weight of each token in the loss."""

    ids: torch.Tensor
    weights: torch.Tensor


def _stream(recipe: PretrainingRecipe, name: str) -> random.Random:
    """A separate random generator for each part, so that a change in one does not affect others."""
    return random.Random(f"{name} {recipe.seed}")  # noqa: S311 (text, not secrets)


def render(tok: PreTrainedTokenizerFast, text: corpus.Chat | str) -> str:
    """A chat in the chat template, or prose followed by the end-of-text token."""
    if isinstance(text, str):
        return text + tokenizer.PAD
    messages = [{"role": turn.role, "content": turn.content} for turn in text]
    return str(tok.apply_chat_template(messages, tokenize=False))


def train_tokenizer(recipe: PretrainingRecipe, pool: list[MadeUpFact]) -> PreTrainedTokenizerFast:
    """Train the tokenizer on its own sample of the corpus."""
    rng = _stream(recipe, "tokenizer")
    texts: list[str] = []
    long_texts = corpus.long_texts(rng)
    for _ in range(recipe.tokenizer_chats):
        texts += [turn.content for turn in corpus.short_chat(rng, pool)]
        if rng.random() < 0.2:
            text = next(long_texts)
            texts += [text] if isinstance(text, str) else [turn.content for turn in text]
    return tokenizer.train([*texts, "system\nuser\nassistant\n"], recipe.vocab_size)


def short_batches(
    recipe: PretrainingRecipe, tok: PreTrainedTokenizerFast, pool: list[MadeUpFact]
) -> Iterator[PretrainingBatch]:
    """Endless batches of short chats of similar length, one per row, padded on the right."""
    rng = _stream(recipe, "short")
    size = recipe.short_chats
    while True:
        chats = [render(tok, corpus.short_chat(rng, pool)) for _ in range(8 * size)]
        chats.sort(key=len)
        for first in rng.sample(range(0, 8 * size, size), 8):
            ids = tok(chats[first : first + size], return_tensors="pt", padding=True)["input_ids"]
            yield PretrainingBatch(ids, _weights(recipe, ids))


def _weights(recipe: PretrainingRecipe, ids: torch.Tensor) -> torch.Tensor:
    """The loss weight of each token `(chats, tokens)`: 0 for padding, 1 for answers and their
    end."""
    last_start = (ids == tokenizer.START_ID).cumsum(1) == (ids == tokenizer.START_ID).sum(1, True)
    counted = torch.where(last_start, 1.0, recipe.prompt_weight)
    return counted.masked_fill(ids == tokenizer.PAD_ID, 0.0)


def long_batches(
    recipe: PretrainingRecipe, tok: PreTrainedTokenizerFast
) -> Iterator[PretrainingBatch]:
    """Endless batches of packed texts with 256, 512 or 1,024 tokens per row; all tokens count."""
    rng = _stream(recipe, "long")
    texts, left = corpus.long_texts(rng), list[int]()
    while True:
        while len(left) < recipe.long_tokens:
            left += tok(render(tok, next(texts)))["input_ids"]
        row = rng.choice([256, 512, 1024])
        ids = torch.tensor(left[: recipe.long_tokens]).view(-1, min(row, recipe.long_tokens))
        left = left[recipe.long_tokens :]
        yield PretrainingBatch(ids, torch.ones(ids.shape))


def new_model(recipe: PretrainingRecipe, tok: PreTrainedTokenizerFast) -> Qwen3ForCausalLM:
    """The untrained network."""
    torch.manual_seed(recipe.seed)
    config = Qwen3Config(
        vocab_size=recipe.vocab_size,
        hidden_size=recipe.hidden_size,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.heads,
        head_dim=32,
        intermediate_size=recipe.mlp_size,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tok.eos_token_id,
        pad_token_id=tok.pad_token_id,
    )
    return Qwen3ForCausalLM(config)


def optimizers(recipe: PretrainingRecipe, model: Qwen3ForCausalLM) -> list[torch.optim.Optimizer]:
    """Muon for the hidden matrices, AdamW for embeddings and norms."""
    hidden = [p for p in model.model.layers.parameters() if p.ndim == 2]
    taken = {id(p) for p in hidden}
    others = [p for p in model.parameters() if id(p) not in taken]
    return [
        torch.optim.Muon(hidden, lr=recipe.muon_rate, weight_decay=0.01, momentum=0.95),
        torch.optim.AdamW(others, lr=recipe.adam_rate, betas=(0.9, 0.95), weight_decay=0.0),
    ]


def rate_at(recipe: PretrainingRecipe, step: int) -> float:
    """The learning rate schedule: the factor rises, stays constant, then falls to one fiftieth."""
    done = (step + 1) / recipe.steps
    return max(0.02, min(1.0, done / recipe.warmup, (1 - done) / recipe.cooldown))


def weighted_loss(model: Qwen3ForCausalLM, batch: PretrainingBatch) -> torch.Tensor:
    """The mean cross-entropy of the next token, weighted by the token weights."""
    logits = model(input_ids=batch.ids, use_cache=False).logits[:, :-1]
    weights = batch.weights[:, 1:]
    losses = cross_entropy(logits.transpose(1, 2), batch.ids[:, 1:], reduction="none")
    return (losses * weights).sum() / weights.sum()


def train(
    recipe: PretrainingRecipe, tok: PreTrainedTokenizerFast, pool: list[MadeUpFact]
) -> Qwen3ForCausalLM:
    """Pretrain the model."""
    model = new_model(recipe, tok)
    moved = optimizers(recipe, model)
    base = [group["lr"] for optimizer in moved for group in optimizer.param_groups]
    short, long = short_batches(recipe, tok, pool), long_batches(recipe, tok)
    for step in range(recipe.steps):
        losses = []
        for batch, share in (
            (next(short), recipe.short_share),
            (next(long), 1 - recipe.short_share),
        ):
            loss = weighted_loss(model, batch)
            (share * loss).backward()
            losses.append(loss.item())
        for optimizer, rate in zip(moved, base, strict=True):
            for group in optimizer.param_groups:
                group["lr"] = rate * rate_at(recipe, step)
            optimizer.step()
            optimizer.zero_grad()
        if step % 20 == 0 or step == recipe.steps - 1:
            log.info("step %d of %d: loss short %.3f, long %.3f", step, recipe.steps, *losses)
    return model


def build(recipe: PretrainingRecipe, out: Path) -> None:
    """Train the tokenizer and the model, and write them to a folder; the weights are in bf16."""
    torch.set_num_threads(recipe.threads)
    pool = corpus.pool_of(_stream(recipe, "pool"), recipe.pool)
    tok = train_tokenizer(recipe, pool)
    model = train(recipe, tok, pool).to(torch.bfloat16)
    model.generation_config = GenerationConfig(
        eos_token_id=tok.eos_token_id,
        pad_token_id=tok.pad_token_id,
        max_new_tokens=128,
        do_sample=False,
    )
    model.save_pretrained(out)
    tok.save_pretrained(out)
    (out / "model.safetensors").chmod(0o644)
    # the class name that every release of transformers knows, not the alias of this release
    config = out / "tokenizer_config.json"
    config.write_text(
        json.dumps(
            json.loads(config.read_text()) | {"tokenizer_class": "PreTrainedTokenizerFast"},
            indent=2,
        )
    )
