"""Every setting of a recipe has the effect that its description states.

There is one function for each setting; a setting without one fails the first test.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from data.store.errors import Invalid
from tests.tuning.data.test_packing import exact
from tests.tuning.training.test_loop import SOME
from tuning.data.examples import Example, windows
from tuning.data.replay import mixed
from tuning.model.base_model import Base, load_base, new_adapter, trainable
from tuning.progress import StepProgress
from tuning.recipe import recipe as recipes
from tuning.recipe.recipe import Recipe
from tuning.training import loop, rate_finder
from tuning.training.ewc import Ewc
from tuning.training.kto import Kto

PLAIN: dict[str, Any] = {
    "rank": 8, "learning_rate": 5e-3, "batch_size": 4, "epochs": 1.0, "evaluations": 2,
    "warmup_share": 0.0, "quantization": "none",
}  # fmt: skip
ELSEWHERE = {  # shown in a test of its own
    "method": "test_preference_run.py: a run on rated answers",
    "dora": "test_recipe.py: refused",
    "replay_answers": "test_own_answers.py: what old questions are answered with",
    "packing": "test_packing.py: the same loss and gradients, in fewer tokens",
    "loss_turns": "test_examples.py: which answers carry loss",
    "max_length": "test_examples.py, test_training_set.py: longer pairs are refused",
    "patience": "test_loop.py: ends a run",
    **dict.fromkeys(
        ("references", "missing_share", "refusal_share", "reading_share", "layout", "starts_from"),
        "test_grounded_pairs.py: what the examples of a pass show",
    ),
    "why": "cannot be set",
}
Show = Callable[["Bench"], None]
SHOWN: dict[str, Show] = {}


def shows(show: Show) -> Show:
    SHOWN[show.__name__] = show
    return show


class Bench:
    """The tiny base in float32, and what a recipe does on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def base(self) -> Base:
        return exact(self.folder)

    def adapter(self, **changes: Any) -> Any:
        return new_adapter(self.base(), asked(changes))

    def layer(self, **changes: Any) -> Any:
        """One adapted layer of a fresh adapter."""
        tuned = self.adapter(**changes).train()
        return tuned.base_model.model.model.layers[1].mlp.up_proj

    def run(self, **changes: Any) -> "Trained":
        """A whole training on the same examples."""
        chosen = asked(changes)
        base = self.base()
        tuned = new_adapter(base, chosen)
        before = {n: p.detach().clone() for n, p in trainable(tuned).items()}
        told: list[StepProgress] = []
        loop.train(base, tuned, lambda _: SOME, {"probe": SOME[:4]}, (), chosen, told.append)
        return Trained(before, {n: p.detach() for n, p in trainable(tuned).items()}, told)


class Trained:
    def __init__(self, before: Any, after: Any, told: Sequence[StepProgress]) -> None:
        self.before, self.after, self.told = before, after, told

    @property
    def moved(self) -> float:
        """The longest way of a weight."""
        ways = (self.after[n] - self.before[n] for n in self.after)
        return max(float(way.abs().max()) for way in ways)


def asked(changes: dict[str, Any]) -> Recipe:
    """As somebody would ask for it."""
    return Recipe.for_pairs(100, base_parameters=10**6, overrides=PLAIN | changes)


@shows
def rank(bench: Bench) -> None:
    assert bench.layer(rank=32).lora_A["default"].weight.shape == (32, 64)


@shows
def alpha(bench: Bench) -> None:
    assert bench.layer(alpha=24).scaling["default"] == 3.0


@shows
def rslora(bench: Bench) -> None:
    assert bench.layer(rank=16, alpha=8, rslora=True).scaling["default"] == 2.0


@shows
def dropout(bench: Bench) -> None:
    """Of ten thousand inputs about so many are dropped, the others made up for it."""
    given = bench.layer(dropout=0.3).lora_dropout["default"](torch.ones(10_000))
    assert 0.27 < float((given == 0).float().mean()) < 0.33
    assert torch.allclose(given[given > 0], torch.tensor(1 / 0.7))


@shows
def target_modules(bench: Bench) -> None:
    tuned = bench.adapter(target_modules="q_proj,v_proj")
    names = {n.split(".lora_")[0].rsplit(".", 1)[-1] for n in trainable(tuned)}
    assert names == {"q_proj", "v_proj"}


@shows
def frozen_layers(bench: Bench) -> None:
    names = trainable(bench.adapter(frozen_layers=1))
    assert names
    assert not any(".layers.0." in name for name in names)


@shows
def neftune_alpha(bench: Bench) -> None:
    base = bench.base()
    tuned = new_adapter(base, asked({})).train()
    ids = torch.arange(24).reshape(2, 12)
    plain = tuned.get_input_embeddings()(ids)
    noise = loop.noisy_embeddings(tuned, 5.0)
    moved = (tuned.get_input_embeddings()(ids) - plain).abs().max()
    noise.remove()
    most = 5.0 / (12 * 64) ** 0.5
    assert 0.9 * most < moved <= most * 1.0001
    assert bench.run(neftune_alpha=5.0).after.keys() == bench.run().after.keys()
    assert bench.run(neftune_alpha=5.0).told[-1].loss != bench.run().told[-1].loss


@shows
def learning_rate(bench: Bench) -> None:
    """AdamW's first step is the rate, whatever the gradient."""
    assert bench.run(learning_rate=1e-3, max_steps=1).moved == pytest.approx(1e-3, rel=0.01)
    assert bench.run(learning_rate=4e-3, max_steps=1).moved == pytest.approx(4e-3, rel=0.01)


@shows
def find_rate(bench: Bench) -> None:
    chosen = asked({"learning_rate": "auto", "epochs": 120})
    assert chosen.find_rate
    base = bench.base()
    found = rate_finder.find(base, new_adapter(base, chosen), lambda _: SOME, chosen)
    assert len(found.tried) >= 10


@shows
def batch_size(bench: Bench) -> None:
    assert [len(window) for window in windows(SOME, 8, 0)].count(8) == 2
    assert [len(bench.run(batch_size=size).told) for size in (4, 10, 20)] == [5, 2, 1]


@shows
def micro_tokens(bench: Bench) -> None:
    """Passes get smaller; the gradient of the step is the same, token for token."""

    def step(**changes: Any) -> tuple[torch.Tensor, list[int]]:
        chosen = asked(changes)
        base = bench.base()
        tuned = new_adapter(base, chosen).train()
        sizes: list[int] = []
        tuned.register_forward_pre_hook(
            lambda _, args, given: sizes.append(given["input_ids"].numel()), with_kwargs=True
        )
        loop.learn(base, tuned, SOME[:7], chosen)
        grads = [p.grad.flatten() for p in trainable(tuned).values() if p.grad is not None]
        return torch.cat(grads), sizes

    whole, one = step(micro_tokens=10_000)
    cut, several = step(micro_tokens=24)
    assert (len(one), len(several)) == (1, 4)
    assert max(several) <= 24
    assert torch.allclose(whole, cut, rtol=1e-4, atol=1e-5 * float(whole.abs().max()))


@shows
def gradient_checkpointing(bench: Bench) -> None:
    base = bench.base()
    tuned = new_adapter(base, asked({}))
    loop.prepare_model(base, tuned, SOME, asked({"gradient_checkpointing": True}))
    assert base.model.is_gradient_checkpointing
    calls = []
    block = base.model.model.layers[1].self_attn
    block.register_forward_hook(lambda *_: calls.append(1))
    loop.learn(base, tuned, SOME[:2], asked({}))
    assert len(calls) == 2  # forward, and again on the way back


@shows
def epochs(bench: Bench) -> None:
    assert len(bench.run(epochs=2.4).told) == 12


@shows
def max_steps(bench: Bench) -> None:
    assert len(bench.run(max_steps=3).told) == 3


@shows
def warmup_share(bench: Bench) -> None:
    rates = [now.learning_rate for now in bench.run(epochs=2, warmup_share=0.4).told]
    assert rates[:4] == pytest.approx([5e-3 * i / 4 for i in (1, 2, 3, 4)])


@shows
def schedule(bench: Bench) -> None:
    def rates(kind: str) -> list[float]:
        return [now.learning_rate / 5e-3 for now in bench.run(epochs=2, schedule=kind).told]

    assert rates("constant") == pytest.approx([1.0] * 10)
    assert rates("linear") == pytest.approx([1 - i / 10 for i in range(10)])
    assert rates("cosine")[5] == pytest.approx(0.5)


@shows
def weight_decay(bench: Bench) -> None:
    """Each step takes rate x decay off a weight; B's start at nothing, so A's are looked at."""
    plain, less = bench.run(max_steps=1), bench.run(max_steps=1, weight_decay=0.5)
    for name in (n for n in plain.after if "lora_A" in n):
        taken = plain.after[name] - less.after[name]
        assert torch.allclose(taken, 5e-3 * 0.5 * plain.before[name], atol=1e-6)


@shows
def beta2(bench: Bench) -> None:
    assert bench.run(beta2=0.9).moved != bench.run(beta2=0.999).moved


@shows
def max_grad_norm(bench: Bench) -> None:
    """AdamW looks at directions; so a bound shows where steps are bounded differently."""
    lengths = []

    def seen(weights: Any, most: float) -> torch.Tensor:
        norm = clip(weights, most)
        lengths.append(sum(float(p.grad.square().sum()) for p in weights) ** 0.5)
        return norm

    clip = torch.nn.utils.clip_grad_norm_
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(torch.nn.utils, "clip_grad_norm_", lambda w, most: seen(list(w), most))
        bench.run(max_grad_norm=1e-3)
    assert lengths
    assert max(lengths) == pytest.approx(1e-3, rel=1e-3)


@shows
def evaluations(bench: Bench) -> None:
    told = bench.run(epochs=2, evaluations=5).told
    assert [now.step for now in told if now.losses] == [2, 4, 6, 8, 10]


@shows
def replay_share(bench: Bench) -> None:
    passes = [mixed(SOME[:4], SOME[4:], share, 0) for share in (0.2, 0.5, 0.75)]
    assert [len(epoch(0)) for epoch in passes] == [5, 8, 16]


@shows
def ewc(bench: Bench) -> None:
    """Weights stay nearer to where they began."""

    def moved(strength: float) -> float:
        chosen = asked({"ewc": strength})
        base = bench.base()
        tuned = new_adapter(base, chosen)
        before = {n: p.detach().clone() for n, p in trainable(tuned).items()}
        objective = Ewc(SOME[:4], chosen.ewc)
        objective.prepare(base, tuned, chosen)
        loop.train(base, tuned, lambda _: SOME, {}, (), chosen, objective=objective.learn)
        return sum(float((p - before[n]).detach().abs().sum()) for n, p in trainable(tuned).items())

    assert moved(1000.0) < 0.85 * moved(0.0)


@shows
def preference_beta(bench: Bench) -> None:
    """The first gradient grows with it: all sigmoids are at a half."""

    def length(beta: float) -> float:
        chosen = asked({"preference_beta": beta})
        base = bench.base()
        tuned = new_adapter(base, chosen)
        objective = Kto({e: e.pair_id % 2 == 0 for e in SOME}, chosen.preference_beta, 0)
        objective.prepare(base, tuned, chosen)
        objective.learn(base, tuned, SOME, chosen)
        return sum(float(p.grad.square().sum()) for p in trainable(tuned).values()) ** 0.5

    assert length(0.4) == pytest.approx(4 * length(0.1), rel=0.01)


@shows
def quantization(bench: Bench) -> None:
    def four_bit(kind: str) -> bool:
        base = load_base(str(bench.folder), asked({"quantization": kind}), torch.device("cpu"))
        return any("4bit" in type(module).__name__ for module in base.model.modules())

    assert (four_bit("nf4"), four_bit("none")) == (True, False)


@shows
def seed(bench: Bench) -> None:
    one, again, other = (bench.run(seed=number) for number in (1, 1, 2))
    name = next(n for n in one.after if "lora_A" in n)
    assert torch.equal(one.after[name], again.after[name])
    assert not torch.equal(one.before[name], other.before[name])
    assert windows(SOME, 4, 1) != windows(SOME, 4, 2)


def test_every_setting_has_a_test() -> None:
    assert sorted([*SHOWN, *ELSEWHERE]) == sorted(Recipe.model_fields)


@pytest.mark.parametrize("name", SHOWN)
def test_a_setting_does_what_it_says(name: str, tiny_base: Path) -> None:
    SHOWN[name](Bench(tiny_base))


def test_isolation_is_checked_once_in_every_run_that_packs_and_in_no_other(
    tiny_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[int] = []
    check = loop.packing.check_isolation

    def counted(base: Base, model: Any, examples: Sequence[Example]) -> Any:
        checked.append(len(examples))
        return check(base, model, examples)

    monkeypatch.setattr(loop.packing, "check_isolation", counted)
    bench = Bench(tiny_base)
    bench.run()
    assert checked == []
    for _ in range(2):
        bench.run(packing=True, max_steps=2)
    assert checked == [len(SOME), len(SOME)]


@pytest.mark.parametrize("name", Recipe.model_fields)
def test_every_setting_is_documented(name: str) -> None:
    """For `help(Recipe)`, and for whoever reads the file."""
    source = Path(recipes.__file__).read_text(encoding="utf-8")
    declared = source.index(f"\n    {name}: ")
    following = source[declared + 1 :].split('"""', 1)
    assert following[1].strip()
    assert following[0].count("\n    ") <= 3


@pytest.mark.parametrize("name", sorted(recipes.ALIASES))
def test_a_short_name_is_the_setting_it_stands_for(name: str) -> None:
    given = {"targets": "mlp"}.get(name, "3")
    if recipes.ALIASES[name] == "learning_rate":
        given = "0.003"
    assert recipes.parse(name, given) == recipes.parse(recipes.ALIASES[name], given)
    with pytest.raises(Invalid):
        recipes.parse(name + "x", given)
