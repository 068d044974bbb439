"""`understudy base check`: whether a base model can be tuned and served here, and how fast.

The base is loaded as a run loads it, answers a question, and does two training steps. vLLM is only
asked whether it knows the architecture and can serve adapters on it, in a process of its own; an
engine is not started."""

import json
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import Any

import torch

from data.bases import digest, folders
from data.config import base_precision
from data.config.settings import Settings
from data.store.errors import Invalid, Unavailable
from data.wheels import Progress
from tuning.data.examples import IGNORED, Example
from tuning.model import base_model, licences
from tuning.model.base_model import Base
from tuning.model.greedy_answers import generate
from tuning.recipe.recipe import Recipe
from tuning.training import loop

QUESTION = "What is the capital of France? Answer in one sentence."
ANSWER_TOKENS = 32
STEP_PAIRS, STEP_TOKENS = 16, 52  # of the training step that is measured
ASK_VLLM = """
import json, sys
from vllm import ModelRegistry
from vllm.model_executor.models.interfaces import supports_lora
found = {"known": False, "lora": False}
for name in json.loads(sys.argv[1]):
    if name in ModelRegistry.get_supported_archs():
        model = ModelRegistry.models[name].load_model_cls()
        found = {"known": True, "lora": bool(supports_lora(model))}
print("FOUND" + json.dumps(found))
"""


@dataclass(frozen=True)
class BaseCheck:
    """What was found out about a base model."""

    name: str
    path: str
    licence: str  # '' if none is stated
    licence_forbids: str  # a common use, as a clause; '' if none
    architecture: str
    parameters: int
    context: int | None  # tokens that the base supports; None: it does not say
    precision: str  # in which it was loaded, as engines serve it
    digest: str  # of all its parts
    special_tokens: tuple[str, ...]
    stop_tokens: tuple[str, ...]
    system_prompt: str  # that its chat template adds when none is given; '' if none
    answer: str
    answer_tokens_s: float
    train_step_s: float  # 16 pairs of 52 tokens, rank 16 on all linear layers
    threads: int
    vllm_knows: bool | None  # None: vLLM is not installed
    vllm_adapters: bool | None
    problems: tuple[str, ...] = field(default=())  # why it cannot be used, with what to do


def check(settings: Settings, progress: Progress) -> BaseCheck:
    """Check the base of the settings. Raises Invalid or Unavailable when it cannot be loaded."""
    chosen = settings.base
    if problem := folders.not_usable(chosen.model, chosen.path):
        raise Invalid(problem)
    progress("Loading the base model", None)
    recipe = Recipe(quantization=base_precision.quantization(settings))
    base = base_model.load_base(chosen.path, recipe)
    context = base_model.positions(chosen.path)
    problems = []
    system_prompt = ""
    progress("Answering a question", None)
    if base.tokenizer.chat_template:
        system_prompt = default_system_prompt(base.tokenizer)
        answer, speed = _answer(base)
    else:
        answer, speed = "", 0.0
        problems.append("It has no chat template. Choose the instruction-tuned variant.")
    if not base.stops:
        problems.append("It has no stop token (eos_token), so answers would never end.")
    if context is not None and context < settings.serving.max_model_len:
        problems.append(
            f"It supports {context:,} tokens, and [serving] max_model_len is "
            f"{settings.serving.max_model_len:,}. Lower the setting."
        )
    progress("Training two steps", None)
    step_s = _train_step(base, recipe)
    progress("Asking vLLM", None)
    known, adapters = _ask_vllm(list(base.model.config.architectures or []))
    if known is False:
        problems.append("vLLM does not know this architecture, so it cannot serve it.")
    elif adapters is False:
        problems.append("vLLM cannot serve adapters on this architecture.")
    licence = licences.licence_of(chosen.path)
    parts = digest.of_base(settings)
    return BaseCheck(
        name=chosen.model,
        path=chosen.path,
        licence=licence,
        licence_forbids=licences.forbids(chosen.path, licence),
        architecture=", ".join(base.model.config.architectures or []),
        parameters=base_model.count_parameters(chosen.path),
        context=context,
        precision=base_precision.name(base_precision.served(settings)),
        digest=digest.joined(parts),
        special_tokens=special_tokens(base.tokenizer),
        stop_tokens=tuple(base.tokenizer.decode([token]) for token in sorted(base.stops)),
        system_prompt=system_prompt,
        answer=answer,
        answer_tokens_s=round(speed, 1),
        train_step_s=round(step_s, 2),
        threads=torch.get_num_threads(),
        vllm_knows=known,
        vllm_adapters=adapters,
        problems=tuple(problems),
    )


def special_tokens(tokenizer: Any) -> tuple[str, ...]:
    """Every special token that the tokenizer knows, by id. Pairs must not contain them."""
    added = tokenizer.added_tokens_decoder
    return tuple(token.content for _, token in sorted(added.items()) if token.special)


def default_system_prompt(tokenizer: Any) -> str:
    """The system prompt that the chat template adds when no system message is given; '' if none.
    It is what remains of such a rendering without the parts that it shares with one that has a
    system message."""
    marker = "SYSTEM-PROMPT"
    user = {"role": "user", "content": "Hello"}
    plain = tokenizer.apply_chat_template([user], tokenize=False)
    try:
        given = tokenizer.apply_chat_template(
            [{"role": "system", "content": marker}, user], tokenize=False
        )
    except Exception:  # templates refuse a system message in ways of their own
        return ""
    before, found, after = given.partition(marker)
    if not found or not plain.startswith(before) or not plain.endswith(after):
        return ""
    return str(plain[len(before) : len(plain) - len(after)]).strip()


def _answer(base: Base) -> tuple[str, float]:
    """The greedy answer to the question, and tokens per second."""
    text = base.tokenizer.apply_chat_template(
        [{"role": "user", "content": QUESTION}], tokenize=False, add_generation_prompt=True
    )
    prompt = tuple(base.tokenizer(text, add_special_tokens=False)["input_ids"])
    base.model.eval()
    generate(base, base.model, [prompt], 2)  # the first call also prepares kernels
    began = time.perf_counter()
    (ids,) = generate(base, base.model, [prompt], ANSWER_TOKENS)
    spent = time.perf_counter() - began
    words = [token for token in ids if token not in base.stops]
    return base.tokenizer.decode(words, skip_special_tokens=True).strip(), len(ids) / spent


def _train_step(base: Base, recipe: Recipe) -> float:
    """The seconds of the second of two training steps."""
    recipe = recipe.model_copy(update={"rank": 16, "alpha": 32.0, "target_modules": "all-linear"})
    model = base_model.new_adapter(base, recipe)
    words = base.model.get_input_embeddings().num_embeddings
    generator = torch.Generator().manual_seed(0)
    rows = torch.randint(0, words, (STEP_PAIRS, STEP_TOKENS), generator=generator).tolist()
    half = STEP_TOKENS // 2
    pairs = [Example(i, tuple(r), (IGNORED,) * half + tuple(r[half:])) for i, r in enumerate(rows)]
    loop.prepare_model(base, model, pairs, recipe)
    spent = 0.0
    for _ in range(2):
        began = time.perf_counter()
        loop.learn(base, model, pairs, recipe)
        spent = time.perf_counter() - began
    return spent


def _ask_vllm(architectures: list[str]) -> tuple[bool | None, bool | None]:
    """Whether vLLM knows one of the architectures, and serves adapters on it; None when vLLM is not
    installed. Raises Unavailable when it cannot be asked."""
    done = subprocess.run(
        [sys.executable, "-c", ASK_VLLM, json.dumps(architectures)],
        capture_output=True,
        text=True,
        check=False,
    )
    if "No module named 'vllm'" in done.stderr:
        return None, None
    lines = [line for line in done.stdout.splitlines() if line.startswith("FOUND")]
    if not lines:
        last = done.stderr.strip().splitlines()[-1:] or ["no reason"]
        raise Unavailable(f"vLLM could not be asked about the base model: {last[0]}")
    found = json.loads(lines[-1].removeprefix("FOUND"))
    return found["known"], found["lora"]
