"""The grouped products against a plain loop over tokens, for all layouts, sizes and types."""

import pytest
import torch
from torch import Tensor

from serving.vllm_plugin import grouped

SLOTS, RANK, INPUTS, WIDTHS = 6, 8, 24, (40, 16)
STEPS = {
    "one slot": [2] * 5,
    "one token": [4],
    "each slot once, unordered": [3, 0, 5, 1, 4, 2],
    "unequal groups": [1, 1, 0, 1, 2, 2, 1],
    "unused slots between": [0, 5, 0, 5],
    "bare tokens between": [-1, 4, -1, 1, 1, -1, 3],
    "one slot and bare tokens": [-1, 5, 5, -1, 5],
    "a prompt and single tokens": [0] * 90 + [1, 2, -1],
    "bare tokens only": [-1] * 3,
    "nothing": [],
}
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 0.05}


@pytest.fixture(params=TOLERANCE, ids=str)
def dtype(request: pytest.FixtureRequest) -> torch.dtype:
    kind: torch.dtype = request.param
    return kind


def drawn(*shape: int, dtype: torch.dtype) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape))).to(dtype)


@pytest.fixture
def a(dtype: torch.dtype) -> list[Tensor]:
    return [drawn(SLOTS, 1, RANK, INPUTS, dtype=dtype) / INPUTS**0.5 for _ in WIDTHS]


@pytest.fixture
def b(dtype: torch.dtype) -> list[Tensor]:
    return [drawn(SLOTS, 1, width, RANK, dtype=dtype) / RANK**0.5 for width in WIDTHS]


def close(found: Tensor, expected: Tensor, slots: list[int], before: Tensor) -> None:
    bare = torch.tensor(slots, dtype=torch.long) < 0
    assert torch.equal(found[bare], before[bare])  # every bit
    kind = TOLERANCE[before.dtype]
    torch.testing.assert_close(found.float(), expected, rtol=kind, atol=kind)


@pytest.mark.parametrize("small", [0, grouped.SMALL], ids=["as they are", "in float32"])
@pytest.mark.parametrize("scale", [1.0, 0.5])
@pytest.mark.parametrize("slots", STEPS.values(), ids=STEPS)
def test_a_layer(slots, scale, small, a, b, dtype, monkeypatch):
    monkeypatch.setattr(grouped, "SMALL", small)
    x = drawn(len(slots), INPUTS, dtype=dtype)
    y = drawn(len(slots), sum(WIDTHS), dtype=dtype)
    before, expected, start = y.clone(), y.float(), 0
    for one_a, one_b, width in zip(a, b, WIDTHS, strict=True):
        for token, slot in enumerate(slots):
            if slot >= 0:
                shrunk = one_a[slot, 0].float() @ x[token].float()
                added = scale * one_b[slot, 0].float() @ shrunk
                expected[token, start : start + width] += added
        start += width

    grouped.add_linear(y, x, a, b, WIDTHS, scale, grouped.group(torch.tensor(slots)))

    close(y, expected, slots, before)


@pytest.mark.parametrize("slots", STEPS.values(), ids=STEPS)
def test_shrink(slots, a, dtype):
    x, y = drawn(len(slots), INPUTS, dtype=dtype), torch.zeros(len(slots), RANK, dtype=dtype)
    before, expected = y.clone(), y.float()
    for token, slot in enumerate(slots):
        if slot >= 0:
            expected[token] = 2 * a[0][slot, 0].float() @ x[token].float()

    grouped.shrink(y, x, a[0], 2.0, grouped.group(torch.tensor(slots)))

    close(y, expected, slots, before)


@pytest.mark.parametrize("add", [True, False])
@pytest.mark.parametrize("slots", STEPS.values(), ids=STEPS)
def test_expand_into_a_part_of_the_columns(slots, add, b, dtype):
    x, y = drawn(len(slots), RANK, dtype=torch.float32), drawn(len(slots), 50, dtype=dtype)
    before, expected = y.clone(), y.float()
    for token, slot in enumerate(slots):
        if slot >= 0:
            product = b[0][slot, 0].float() @ x[token]
            expected[token, 5:45] = product + (before[token, 5:45].float() if add else 0)

    grouped.expand(y[:, 5:45], x, b[0], grouped.group(torch.tensor(slots)), add=add)

    close(y, expected, slots, before)


def test_logits_in_float32_beside_weights_in_bfloat16():
    a = drawn(SLOTS, 1, RANK, INPUTS, dtype=torch.bfloat16)
    b = drawn(SLOTS, 1, 40, RANK, dtype=torch.bfloat16)
    x, y = drawn(3, INPUTS, dtype=torch.bfloat16), torch.zeros(3, 40)
    for slots in ([1, 1, 1], [1, 2, 3]):
        found = y.clone()
        grouped.add_linear(found, x, [a], [b], [40], 1.0, grouped.group(torch.tensor(slots)))
        expected = torch.stack(
            [
                b[slot, 0].float() @ (a[slot, 0].float() @ x[at].float())
                for at, slot in enumerate(slots)
            ]
        )
        torch.testing.assert_close(found, expected, rtol=0.05, atol=0.4)


@pytest.mark.parametrize(
    ("slots", "batched"),
    [
        ([3] * 8, False),  # one product is enough
        ([0, 1, 2, 3], True),
        ([0] * 40 + [1, 2, 3, 4, 5], True),
        ([0] * 300 + [1, 2], False),  # nearly all rows would be computed in vain
        ([0, 5], False),  # so would most slots
    ],
)
def test_when_one_batched_product_is_used(slots, batched):
    assert (grouped.group(torch.tensor(slots)).batch is not None) == batched
