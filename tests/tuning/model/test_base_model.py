"""The model: a base in four bits, adapters in float32, and correct gradients."""

import json
from pathlib import Path
from typing import Any, Literal

import bitsandbytes
import pytest
import torch
from bitsandbytes.functional import dequantize_4bit, has_avx512bf16

from data.adapters import files
from data.store.errors import Invalid, Unavailable
from tests.tuning.families import build
from tuning.adapters.publish import write_files
from tuning.data.examples import IGNORED, Example, batches
from tuning.model import base_model
from tuning.model.base_model import Base, continued_adapter, load_base, new_adapter, trainable
from tuning.model.cpu_linear import UnpackedLinear4bit
from tuning.recipe.recipe import Recipe
from tuning.training.loop import mean_loss, summed_loss

EXAMPLE = Example(1, tuple(range(3, 27)), (IGNORED,) * 4 + tuple(range(7, 27)))


def test_every_linear_layer_is_nf4_with_double_quantisation(
    four_bits: None, tiny_base: Path
) -> None:
    base = load_base(str(tiny_base), Recipe(), torch.device("cpu"))
    layers = [m for m in base.model.modules() if isinstance(m, bitsandbytes.nn.Linear4bit)]

    assert len(layers) == 2 * 7
    assert {layer.weight.quant_state.quant_type for layer in layers} == {"nf4"}
    assert all(layer.weight.quant_state.nested for layer in layers)


def test_without_quantisation_the_base_stays_as_it_is(tiny_base: Path) -> None:
    plain = load_base(str(tiny_base), Recipe(quantization="none"), torch.device("cpu"))

    assert not any(isinstance(m, bitsandbytes.nn.Linear4bit) for m in plain.model.modules())


def test_adapter_weights_are_float32_and_alone_are_trained(base: Base) -> None:
    weights = trainable(new_adapter(base, Recipe(rank=8)))

    assert len(weights) == 2 * 7 * 2
    assert {w.dtype for w in weights.values()} == {torch.float32}
    assert all("lora_" in name for name in weights)


def test_the_mlp_recipe_leaves_attention_alone(base: Base) -> None:
    assert base_model.targets(base.model, Recipe(target_modules="mlp")) == [
        "down_proj",
        "gate_proj",
        "up_proj",
    ]


def test_an_unknown_target_is_refused_and_the_existing_ones_are_listed(base: Base) -> None:
    with pytest.raises(Invalid, match=r"has c_attn, which .* does not have \(it has down_proj, "):
        base_model.targets(base.model, Recipe(target_modules=("q_proj", "c_attn")))


def gradients(base: Base, tuned: Any) -> dict[str, torch.Tensor]:
    tuned.train()
    tuned.zero_grad()
    (batch,) = batches([EXAMPLE], 1000, 0)
    summed_loss(base, tuned, batch).backward()
    return {name: p.grad.clone() for name, p in trainable(tuned).items()}


def cosine(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    """The lowest over all weights."""
    return min(
        torch.nn.functional.cosine_similarity(g.flatten(), other[name].flatten(), dim=0).item()
        for name, g in one.items()
    )


def in_float32(tiny_base: Path, monkeypatch: pytest.MonkeyPatch) -> Base:
    """The NF4 base with exact arithmetic, so that gradients can be held against a reference."""
    monkeypatch.setattr(base_model, "compute_dtype", lambda device: torch.float32)
    return load_base(str(tiny_base), Recipe(), torch.device("cpu"))


def stirred(base: Base) -> Any:
    """An adapter whose halves are both away from zero, so that all gradients are."""
    tuned = new_adapter(base, Recipe(rank=8))
    generator = torch.Generator().manual_seed(1)
    for weight in trainable(tuned).values():
        weight.data = torch.randn(weight.shape, generator=generator) * 0.05
    return tuned


def dequantised(tiny_base: Path, quantised: Base, monkeypatch: pytest.MonkeyPatch) -> Base:
    """A plain float32 base whose weights are what the 4-bit ones stand for."""
    monkeypatch.setattr(base_model, "compute_dtype", lambda device: torch.float32)
    plain = load_base(str(tiny_base), Recipe(quantization="none"), torch.device("cpu"))
    packed = dict(quantised.model.named_modules())
    for name, module in plain.model.named_modules():
        twin = packed.get(name)
        if isinstance(twin, bitsandbytes.nn.Linear4bit):
            state = twin.weight.quant_state
            module.weight.data = dequantize_4bit(twin.weight.data, state).float()
    return plain


@pytest.mark.skipif(
    not has_avx512bf16(), reason="only CPUs with AVX512-BF16 repack their 4-bit weights"
)
def test_gradients_are_those_of_the_dequantised_base_before_and_after_an_evaluation(
    four_bits: None, tiny_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = in_float32(tiny_base, monkeypatch)
    plain = dequantised(tiny_base, base, monkeypatch)
    truth = gradients(plain, stirred(plain))
    tuned = stirred(base)

    before = gradients(base, tuned)
    mean_loss(base, tuned, [EXAMPLE], Recipe())
    tuned.eval()
    with torch.no_grad():
        tuned.generate(input_ids=torch.tensor([EXAMPLE.prompt]), max_new_tokens=4, do_sample=False)
    after = gradients(base, tuned)

    assert cosine(before, truth) > 0.9999
    assert cosine(after, truth) > 0.9999


@pytest.mark.skipif(
    not has_avx512bf16(), reason="only CPUs with AVX512-BF16 repack their 4-bit weights"
)
def test_without_the_guard_an_evaluation_ruins_the_gradients(
    four_bits: None, tiny_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shows that the test above can fail. When this one does, bitsandbytes was mended and the
    guard can go."""
    monkeypatch.setattr(base_model, "keep_trainable_on_cpu", lambda some: 0)
    # they evaluate the model while loading, so that the gradients would be ruined from the start
    for way in (base_model.shared_prefix, base_model.unpadded):
        monkeypatch.setattr(way, "works", lambda model, dtype: False)
    base = in_float32(tiny_base, monkeypatch)
    tuned = stirred(base)

    before = gradients(base, tuned)
    mean_loss(base, tuned, [EXAMPLE], Recipe())
    after = gradients(base, tuned)

    assert cosine(after, before) < 0.99


def test_a_continued_adapter_starts_with_the_saved_weights(
    tiny_base: Path, base: Base, tmp_path: Path
) -> None:
    parent = stirred(base)
    write_files(tmp_path, parent, "tiny")
    again = load_base(str(tiny_base), Recipe(), torch.device("cpu"))

    child = continued_adapter(again, tmp_path)

    assert trainable(child).keys() == trainable(parent).keys()
    for name, weight in trainable(child).items():
        assert torch.equal(weight, trainable(parent)[name])


def test_a_continued_adapter_uses_the_given_dropout(
    tiny_base: Path, base: Base, tmp_path: Path
) -> None:
    (tmp_path / "parent").mkdir()
    write_files(tmp_path / "parent", stirred(base), "tiny")
    ids = torch.tensor([EXAMPLE.ids])

    def twice(dropout: float | None) -> tuple[Any, bool]:
        again = load_base(str(tiny_base), Recipe(), torch.device("cpu"))
        child = continued_adapter(again, tmp_path / "parent", dropout).train()
        with torch.no_grad():
            return child, torch.equal(child(ids).logits, child(ids).logits)

    child, same = twice(0.3)
    _, same_without = twice(None)

    assert (same, same_without) == (False, True)
    assert child.peft_config["default"].lora_dropout == 0.3


def test_a_missing_base_is_reported_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match=r"The base model in .* cannot be loaded"):
        base_model.load_tokenizer(str(tmp_path))


def test_a_base_that_is_not_on_the_hub_is_reported_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)

    with pytest.raises(Unavailable, match="to a local folder"):
        base_model.count_parameters("nobody/has-this-model")


@pytest.mark.parametrize(
    ("rope", "most"),
    [
        (None, 4096),
        ({"rope_type": "default"}, 4096),
        ({"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 4096}, 16_384),
        ({"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 1024}, 4096),
        ({"type": "linear", "factor": 2.0}, 8192),
        ({"rope_type": "dynamic", "factor": 2.0}, 8192),
        (  # whose settings name the stretched length themselves
            {"rope_type": "llama3", "factor": 8.0, "original_max_position_embeddings": 512,
             "low_freq_factor": 1.0, "high_freq_factor": 4.0},
            4096,
        ),
    ],
)  # fmt: skip
def test_scaled_rotary_positions_raise_the_token_limit(
    tmp_path: Path, rope: dict[str, Any] | None, most: int
) -> None:
    settings = {"model_type": "qwen2", "max_position_embeddings": 4096, "rope_scaling": rope}
    (tmp_path / "config.json").write_text(json.dumps(settings))

    assert base_model.positions(str(tmp_path)) == most


def layers_of(tuned: Any) -> set[int]:
    return {int(name.split(".layers.")[1].split(".")[0]) for name in trainable(tuned)}


def test_the_lowest_layers_can_be_left_without_adapters(base: Base) -> None:
    assert layers_of(base_model.new_adapter(base, Recipe(rank=8, frozen_layers=1))) == {1}


def test_at_least_one_layer_is_trained(base: Base) -> None:
    with pytest.raises(Invalid, match="frozen_layers is 2, but the base model has 2 layers"):
        base_model.new_adapter(base, Recipe(rank=8, frozen_layers=2))


def test_rank_stabilised_scaling_divides_by_the_root_of_the_rank(tiny_base: Path) -> None:
    def scaling(rslora: bool) -> float:
        base = base_model.load_base(str(tiny_base), Recipe(), torch.device("cpu"))
        tuned = base_model.new_adapter(base, Recipe(rank=16, alpha=32, rslora=rslora))
        scalings = (getattr(module, "scaling", None) for module in tuned.modules())
        return float(next(s for s in scalings if isinstance(s, dict))["default"])

    assert (scaling(False), scaling(True)) == (2.0, 8.0)


@pytest.mark.parametrize("changes", [{"frozen_layers": 1}, {"rslora": True}])
def test_saved_files_pass_the_engines_check(
    base: Base, tiny_base: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    write_files(tmp_path, base_model.new_adapter(base, Recipe(rank=8, **changes)), "tiny")
    found = files.check(tmp_path, base=tiny_base, base_model="tiny", max_rank=8)
    assert found.rank == 8


@pytest.mark.parametrize("family", ["gpt2", "bloom", "llama", "phi3"])
def test_mlp_means_the_layers_between_attentions_in_every_family(
    family: str, tmp_path: Path
) -> None:
    base = load_base(str(build(family, tmp_path)), Recipe(), torch.device("cpu"))
    tuned = new_adapter(base, Recipe(rank=8, target_modules="mlp"))

    adapted = {name.split(".lora_")[0] for name in trainable(tuned)}

    assert adapted
    assert all(".mlp." in name for name in adapted)


def test_an_ambiguous_layer_can_be_named_with_its_parent(tmp_path: Path) -> None:
    base = load_base(str(build("gpt2", tmp_path)), Recipe(), torch.device("cpu"))

    assert base_model.targets(base.model, Recipe(target_modules="mlp")) == ["c_fc", "mlp.c_proj"]
    assert base_model.targets(base.model, Recipe(target_modules=("attn.c_proj",))) == [
        "attn.c_proj"
    ]


@pytest.mark.parametrize("quantization", ["nf4", "none"])
def test_the_transposed_layers_of_gpt2_are_tuned_correctly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quantization: Literal["nf4", "none"]
) -> None:
    """They are quantised too, and an adapter on them computes what one on a plain layer would."""
    monkeypatch.setattr(base_model, "compute_dtype", lambda device: torch.float32)
    folder = str(build("gpt2", tmp_path))
    base = load_base(folder, Recipe(quantization=quantization), torch.device("cpu"))
    four_bit = [m for m in base.model.modules() if isinstance(m, UnpackedLinear4bit)]
    assert len(four_bit) == (2 * 4 if quantization == "nf4" else 0)

    tuned = stirred(base)
    layer = tuned.base_model.model.transformer.h[0].attn.c_attn
    given = torch.randn(3, 64)
    a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    expected = layer.base_layer(given) + given @ a.T @ b.T * layer.scaling["default"]

    assert torch.allclose(layer(given), expected, atol=1e-4)
    if quantization == "nf4":
        plain = load_base(folder, Recipe(quantization="none"), torch.device("cpu"))
        truth = plain.model.transformer.h[0].attn.c_attn(given)
        assert (
            torch.nn.functional.cosine_similarity(
                layer.base_layer(given).flatten(), truth.flatten(), dim=0
            )
            > 0.98
        )
