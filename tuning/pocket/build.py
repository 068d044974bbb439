"""Train the pocket base model: text in, a folder that transformers and vLLM load out.

One loop, visible from top to bottom. Each step learns from a batch of short chats, one a row, and a batch of packed
long texts of 256 to 1,024 tokens. Hidden matrices are moved by Muon (orthogonalised momentum, https://kellerjordan.
github.io/posts/muon), which needs about half the steps of AdamW at this size; everything else by AdamW.
"""

import json
import logging
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import GenerationConfig, PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from tuning.pocket import corpus, tokenizer

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the weights, beside the version of Python."""

    seed: int = 0
    steps: int = 600
    vocab_size: int = 2048
    hidden_size: int = 192
    layers: int = 6
    heads: int = 6
    mlp_size: int = 512
    pool: int = 1000
    tokenizer_chats: int = 6000
    short_chats: int = 32
    long_tokens: int = 2048
    muon_rate: float = 0.02
    adam_rate: float = 3e-3
    warmup: float = 0.03
    cooldown: float = 0.5


def render(tok: PreTrainedTokenizerFast, text: corpus.Chat | str) -> str:
    """A chat in the template, or prose followed by the end of text."""
    if isinstance(text, str):
        return text + tokenizer.PAD
    messages = [{"role": turn.role, "content": turn.content} for turn in text]
    return str(tok.apply_chat_template(messages, tokenize=False))


def train_tokenizer(recipe: Recipe, pool: list[corpus.Fact]) -> PreTrainedTokenizerFast:
    """The tokenizer, from its own sample of the corpus."""
    rng = random.Random(f"tokenizer {recipe.seed}")
    texts: list[str] = []
    long_texts = corpus.long_texts(rng)
    for _ in range(recipe.tokenizer_chats):
        texts += [turn.content for turn in corpus.short_chat(rng, pool)]
        if rng.random() < 0.2:
            text = next(long_texts)
            texts += [text] if isinstance(text, str) else [turn.content for turn in text]
    return tokenizer.train([*texts, "system\nuser\nassistant\n"], recipe.vocab_size)


def short_batches(
    recipe: Recipe, tok: PreTrainedTokenizerFast, pool: list[corpus.Fact]
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Without end: token ids and labels `(chats, tokens)`, padded on the right."""
    rng = random.Random(f"short {recipe.seed}")
    while True:
        texts = [render(tok, corpus.short_chat(rng, pool)) for _ in range(recipe.short_chats)]
        ids = tok(texts, return_tensors="pt", padding=True)
        yield ids["input_ids"], ids["input_ids"].masked_fill(ids["attention_mask"] == 0, -100)


def long_batches(recipe: Recipe, tok: PreTrainedTokenizerFast) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Without end: token ids and labels of 256, 512 or 1,024 tokens a row."""
    rng = random.Random(f"long {recipe.seed}")
    texts, left = corpus.long_texts(rng), list[int]()
    while True:
        while len(left) < recipe.long_tokens:
            left += tok(render(tok, next(texts)))["input_ids"]
        row = rng.choice([256, 256, 512, 512, 1024])
        ids = torch.tensor(left[: recipe.long_tokens]).view(-1, min(row, recipe.long_tokens))
        left = left[recipe.long_tokens :]
        yield ids, ids


def new_model(recipe: Recipe, tok: PreTrainedTokenizerFast) -> Qwen3ForCausalLM:
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


def optimizers(recipe: Recipe, model: Qwen3ForCausalLM) -> list[torch.optim.Optimizer]:
    """Muon for the hidden matrices, AdamW for embeddings and norms."""
    hidden = [p for p in model.model.layers.parameters() if p.ndim == 2]
    taken = {id(p) for p in hidden}
    others = [p for p in model.parameters() if id(p) not in taken]
    return [
        torch.optim.Muon(hidden, lr=recipe.muon_rate, weight_decay=0.01, momentum=0.95),
        torch.optim.AdamW(others, lr=recipe.adam_rate, betas=(0.9, 0.95), weight_decay=0.0),
    ]


def rate_at(recipe: Recipe, step: int) -> float:
    """The factor on the learning rates: up, flat, then down to a fiftieth."""
    done = (step + 1) / recipe.steps
    return max(0.02, min(1.0, done / recipe.warmup, (1 - done) / recipe.cooldown))


def train(recipe: Recipe, tok: PreTrainedTokenizerFast, pool: list[corpus.Fact]) -> Qwen3ForCausalLM:
    """The whole pretraining; every token counts, prompts too."""
    model = new_model(recipe, tok)
    moved = optimizers(recipe, model)
    base = [group["lr"] for optimizer in moved for group in optimizer.param_groups]
    short, long = short_batches(recipe, tok, pool), long_batches(recipe, tok)
    for step in range(recipe.steps):
        losses = []
        for ids, labels in (next(short), next(long)):
            loss = model(input_ids=ids, labels=labels, use_cache=False).loss
            (loss / 2).backward()
            losses.append(loss.item())
        for optimizer, rate in zip(moved, base, strict=True):
            for group in optimizer.param_groups:
                group["lr"] = rate * rate_at(recipe, step)
            optimizer.step()
            optimizer.zero_grad()
        if step % 20 == 0 or step == recipe.steps - 1:
            log.info("step %d of %d: loss short %.3f, long %.3f", step, recipe.steps, *losses)
    return model


def build(recipe: Recipe, out: Path) -> None:
    """Make the tokenizer and the model and write them to a folder, the weights as bf16."""
    pool = corpus.pool_of(random.Random(f"pool {recipe.seed}"), recipe.pool)
    tok = train_tokenizer(recipe, pool)
    model = train(recipe, tok, pool).to(torch.bfloat16)
    model.generation_config = GenerationConfig(
        eos_token_id=tok.eos_token_id, pad_token_id=tok.pad_token_id, max_new_tokens=128, do_sample=False
    )
    model.save_pretrained(out)
    tok.save_pretrained(out)
    (out / "model.safetensors").chmod(0o644)
    # the class that every release of transformers knows, not the alias that this one writes
    config = out / "tokenizer_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"tokenizer_class": "PreTrainedTokenizerFast"}, indent=2))
