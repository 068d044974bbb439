"""Cards are read from a small fake of nvidia-smi."""

from pathlib import Path

import pytest

from data.gpu import cards
from data.store.errors import Unavailable
from tests.fake_nvidia_smi import installed

TWO = (
    "0, GPU-aaaa1111, NVIDIA H200, 143771, 645, 143126\n"
    "1, GPU-bbbb2222, NVIDIA L40S, 46068, [N/A], 1000\n"
)
MIB = 1 << 20


def test_cards_are_read_without_the_memory_that_the_driver_reserves(tmp_path, monkeypatch):
    installed(monkeypatch, tmp_path, TWO)
    first, second = cards.cards()
    assert (first.name, first.total, first.free) == ("NVIDIA H200", 143_126 * MIB, 143_126 * MIB)
    assert (second.index, second.total, second.free) == (1, 46_068 * MIB, 1000 * MIB)
    assert cards.shared() == first


@pytest.mark.parametrize(
    ("visible", "indexes"),
    [("1", [1]), ("1,0", [1, 0]), ("GPU-bbbb", [1]), ("", []), ("7", []), ("0,9,1", [0])],
)
def test_only_visible_cards_count(tmp_path, monkeypatch, visible, indexes):
    installed(monkeypatch, tmp_path, TWO)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert [card.index for card in cards.cards()] == indexes


def test_a_machine_without_a_card_has_none(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert cards.cards() == []
    with pytest.raises(Unavailable, match="no NVIDIA card"):
        cards.shared()


def test_a_failing_driver_is_reported(tmp_path, monkeypatch):
    installed(monkeypatch, tmp_path, "NVIDIA-SMI has failed", code=9)
    with pytest.raises(Unavailable, match="cannot read the cards: NVIDIA-SMI has failed"):
        cards.cards()


@pytest.mark.parametrize("said", ["something else\n", "0, GPU-a, H200, many, 0, 1\n"])
def test_output_that_is_not_a_table_is_reported(tmp_path, monkeypatch, said):
    installed(monkeypatch, tmp_path, said)
    with pytest.raises(Unavailable, match="an unexpected line"):
        cards.cards()


def test_a_tool_that_cannot_be_run_is_reported(tmp_path: Path, monkeypatch):
    (tmp_path / "nvidia-smi").write_text("no program")
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unavailable, match="does not answer"):
        cards.cards()
