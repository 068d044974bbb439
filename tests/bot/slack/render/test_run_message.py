"""The run message in every state, within Slack's limits, and the loss curve as a picture."""

import math
import re
import struct
import zlib
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slack_sdk.models.blocks import Block as SdkBlock

from bot.slack.render import loss_curve, run_message
from bot.slack.render.run_message import SPARKS, RunSnapshot, sparkline
from data.adapters.registry import Adapter
from data.runs.runs import LossPoint, Run
from tests.fake_slack import rules

RUN = Run(
    id=7,
    domain_id=1,
    domain="helpdesk",
    kind="incremental",
    state="running",
    recipe={},
    dataset_id=None,
    parent_id=None,
    adapter_id=None,
    requested_by="slack:T1/U1",
    cancel_requested=False,
    attempts=1,
    worker="w",
    phase="training",
    step=30,
    total_steps=60,
    loss=1.5,
    validation_loss=None,
    eta_s=40.0,
    error="",
    queued_at=1,
    started_at=2_000_000,
    heartbeat_at=None,
    finished_at=62_000_000,
)
ADAPTER = Adapter(
    id=1,
    domain_id=1,
    domain="helpdesk",
    version=3,
    sha256="0" * 64,
    path="adapters/helpdesk-3",
    base_model="pocket",
    rank=8,
    size_bytes=1,
    recipe={},
    scores={
        "golden": {"n": 60, "exact": 0.75, "f1": 0.81, "base_exact": 0.0, "base_f1": 0.12},
        "gate": {
            "passed": False,
            "rules": [
                {"name": "golden", "passed": True, "sentence": "Golden: not below helpdesk@2."},
                {"name": "new", "passed": False, "sentence": "New pairs: not learned."},
                {"name": "parity", "passed": None, "sentence": "No engine was about."},
            ],
        },
    },
    dataset_id=None,
    parent_id=None,
    run_id=7,
    state="candidate",
    state_reason="",
    created_at=1,
    live_at=None,
)
CURVE = [
    LossPoint(s, 3 * math.exp(-s / 9), 3.0 if s % 4 == 0 else None, None) for s in range(1, 30)
]


@pytest.mark.parametrize("state", ["queued", "running", "done", "failed", "cancelled"])
@pytest.mark.parametrize("error", ["", "It broke. " * 2_000])
def test_a_run_is_a_valid_message_in_every_state(state: Any, error: str) -> None:
    run = replace(RUN, state=state, error=error)
    for result in (None, ADAPTER, replace(ADAPTER, state="rejected", state_reason=error)):
        for live in (None, replace(ADAPTER, version=2, state="live")):
            assert rules.blocks(run_message.shown(RunSnapshot(run, CURVE, result, live))) == []


def test_a_running_run_shows_its_progress() -> None:
    shown = str(run_message.shown(RunSnapshot(RUN)))
    assert "▓▓▓▓▓▓▓▓▓▓░░░░░░░░░░" in shown
    assert "50 %" in shown
    assert "step 30 of 60, loss 1.500, about 40 s left" in shown


@pytest.mark.parametrize(
    ("measured", "words"),
    [
        (True, "Passed the quality gate"),
        (False, "Its quality was not measured"),
        (None, "Passed the quality gate"),  # of an older version
    ],
)
def test_an_adapter_that_nothing_measured_is_not_called_good(
    measured: bool | None, words: str
) -> None:
    gate = {"passed": True, "rules": [{"name": "x", "passed": True, "sentence": "It fell."}]}
    gate |= {} if measured is None else {"measured": measured}
    result = replace(ADAPTER, scores={"gate": gate})

    shown = str(run_message.shown(RunSnapshot(replace(RUN, state="done"), CURVE, result)))

    assert words in shown
    assert ("its quality is unknown" in shown) is (measured is False)


def test_a_finished_run_shows_losses_the_gate_and_buttons() -> None:
    found = run_message.shown(RunSnapshot(replace(RUN, state="done"), CURVE, ADAPTER))
    shown = str(found)
    assert re.search(r"loss `█[▁-█]{22}▁` 2\.685 → 0\.120", shown)
    assert "validation `▁▁▁▁▁▁▁` 3.000 → 3.000" in shown
    assert "75% of 60 held-out questions answered exactly (bare base 0%)" in shown
    assert ":white_check_mark: Golden: not below helpdesk@2." in shown
    assert ":x: New pairs: not learned." in shown
    assert ":heavy_minus_sign: No engine was about." in shown
    buttons = [e for b in found if b["type"] == "actions" for e in b["elements"]]
    assert [b["value"] for b in buttons] == [
        "ab start base helpdesk@3",
        "promote helpdesk@3",
        "retire helpdesk@3",
    ]
    assert ["confirm" in b for b in buttons] == [False, True, True]


@pytest.mark.parametrize("state", ["live", "retired", "rejected", "evaluating"])
def test_only_a_candidate_has_buttons(state: Any) -> None:
    adapter = replace(ADAPTER, state=state, state_reason="It forgot too much.")
    found = run_message.shown(RunSnapshot(replace(RUN, state="done"), CURVE, adapter))
    assert [b for b in found if b["type"] == "actions"] == []
    assert rules.blocks(found) == []


def test_the_slack_sdk_parses_every_block() -> None:
    found = run_message.shown(RunSnapshot(replace(RUN, state="done"), CURVE, ADAPTER))
    assert [b.to_dict()["type"] for b in SdkBlock.parse_all(found)] == [b["type"] for b in found]


def test_a_sparkline_follows_the_values() -> None:
    assert sparkline([8, 7, 6, 5, 4, 3, 2, 1]) == SPARKS[::-1]
    assert sparkline([1.0]) == "▁"
    assert sparkline([]) == ""
    assert sparkline([math.nan, math.inf]) == ""


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=300))
def test_a_sparkline_of_any_values_is_short(values: list[float]) -> None:
    line = sparkline(values)
    assert len(line) <= 24
    assert set(line) <= set(SPARKS)


def pixels(png: bytes) -> list[bytes]:
    """The pixel rows of one of our PNGs, after checking its checksums."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    found, at = {}, 8
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        kind, data = png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        (crc,) = struct.unpack(">I", png[at + 8 + length : at + 12 + length])
        assert crc == zlib.crc32(kind + data)
        found[kind], at = data, at + 12 + length
    width, height = struct.unpack(">II", found[b"IHDR"][:8])
    raw = zlib.decompress(found[b"IDAT"])
    assert len(raw) == height * (width + 1)
    return [raw[y * (width + 1) + 1 : (y + 1) * (width + 1)] for y in range(height)]


def test_the_drawn_curve_falls_with_the_loss() -> None:
    png = loss_curve.loss_curve(CURVE)
    assert png is not None
    rows = pixels(png)
    of_training = [
        [y for y, row in enumerate(rows) if y > 20 and row[x] == loss_curve.BLUE]
        for x in (
            loss_curve.LEFT + 1,
            loss_curve.LEFT + 100,
            loss_curve.WIDTH - loss_curve.RIGHT - 10,
        )
    ]
    first, middle, last = (min(found) for found in of_training)
    assert first < middle < last
    assert any(loss_curve.ORANGE in row for row in rows)


def test_a_curve_of_one_point_is_not_drawn() -> None:
    assert loss_curve.loss_curve(CURVE[:1]) is None
    assert loss_curve.loss_curve([]) is None


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 10**6), st.none() | st.floats(), st.none() | st.floats()),
        max_size=60,
        unique_by=lambda point: point[0],
    )
)
def test_any_curve_gives_a_valid_png_or_none(points: list[tuple[int, float, float]]) -> None:
    curve = [LossPoint(step, loss, validation, None) for step, loss, validation in sorted(points)]
    png = loss_curve.loss_curve(curve)
    if png is not None:
        assert len(pixels(png)) == loss_curve.HEIGHT
