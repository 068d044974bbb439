"""The report of a run: its figures, escaped text of people, and no external resources."""

import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from data import domains
from data.adapters import registry
from data.config.settings import Settings
from data.privacy import provenance
from data.runs import loss_chart, report, runs, trials
from data.runs.runs import LossPoint
from data.store.db import Store
from data.store.errors import NotFound
from tests.evaluated import HOSTILE, evaluated


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home")


@pytest.fixture
def run(store: Store) -> runs.Run:
    with store.write() as db:
        domains.create(db, "art")
        return evaluated(db)[0]


class Page(HTMLParser):
    """What a browser would make of it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in ("meta", "circle", "line", "polyline"):
            self.open.append(tag)
        self.addresses += [v or "" for k, v in attrs if k in ("src", "href", "action", "data")]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_the_report_shows_the_metrics_and_the_decision(store: Store, run: runs.Run) -> None:
    page = Page(report.page(store.db, run.id))
    text = " ".join(page.words)

    assert page.open == []
    for words in (
        "Run 1: art@2", "art@2: candidate", "art@1 (live)", "the engine", "0.600", "chrF",
        "It is no worse on golden questions", "∞", "2 of 9 were asked",
    ):  # fmt: skip
        assert words in text
    assert page.tags.count("svg") == 1


@pytest.mark.parametrize("measured", [True, False])
def test_the_report_calls_an_adapter_good_only_if_it_was_measured(
    store: Store, run: runs.Run, measured: bool
) -> None:
    with store.write() as db:
        made = registry.by_id(db, run.adapter_id or 0)
        scores = made.scores | {"gate": made.scores["gate"] | {"measured": measured}}
        db.execute("UPDATE adapters SET scores = ?", [json.dumps(scores)])

    raw = report.page(store.db, run.id)

    assert ('class="verdict good"' in raw) is measured
    assert ("Its quality is unknown, because nothing was held out" in raw) is not measured


def test_the_report_draws_a_search_with_its_failed_trials(store: Store, run: runs.Run) -> None:
    with store.write() as db:
        db.execute("UPDATE runs SET state = 'running'")
        planned = [(1, {"rank": 8}, None), (2, {"rank": 16}, None), (3, {"rank": 32}, None)]
        trials.plan(db, runs.get(db, run.id), planned)
        for number, loss in ((1, 0.5), (2, 0.25)):
            trials.finish(db, runs.get(db, run.id), number, loss=loss)
        trials.fail(db, runs.get(db, run.id), 3, "No memory.")
        db.execute("UPDATE runs SET state = 'done'")

    raw = report.page(store.db, run.id)
    page = Page(raw)

    assert page.open == []
    assert page.tags.count("svg") == 2
    for words in ("Trials", "rank=8", "rank=16", "0.250", "rank=32: No memory."):
        assert words in page.words
    assert raw.count('circle class="kept"') == raw.count('circle class="tried"') == 1
    assert "http" not in raw.replace("http-equiv", "")


def test_peoples_words_are_escaped(store: Store, run: runs.Run) -> None:
    raw = report.page(store.db, run.id)
    page = Page(raw)

    assert "script" not in page.tags
    assert HOSTILE in page.words
    assert "<script" not in raw


def test_the_report_loads_no_external_resources(store: Store, run: runs.Run) -> None:
    raw = report.page(store.db, run.id)

    assert Page(raw).addresses == []
    assert "http" not in raw.replace("http-equiv", "")
    assert "default-src 'none'" in raw


def test_a_rejection_is_shown_with_its_reason(store: Store) -> None:
    with store.write() as db:
        domains.create(db, "art")
        run, _ = evaluated(db, passed=False, reason="It is worse.")

    assert "art@2: rejected: It is worse." in Page(report.page(store.db, run.id)).words


def test_the_copy_in_the_folder_equals_the_page(
    store: Store, run: runs.Run, settings: Settings
) -> None:
    file = report.write(store.db, settings, run.id)

    assert file == settings.runs_path / "1" / "report.html"
    assert file.read_text(encoding="utf-8") == report.page(store.db, run.id)
    assert [p.name for p in file.parent.iterdir()] == ["report.html"]


def test_copies_follow_the_store(store: Store, run: runs.Run, settings: Settings) -> None:
    """Somebody's words were forgotten."""
    file = report.write(store.db, settings, run.id)
    assert file is not None
    with store.write() as db:
        db.execute("UPDATE adapters SET scores = json_set(scores, '$.samples', json('[]'))")

    provenance.clean_cards(store.db, settings.home)

    assert "A fish." not in file.read_text(encoding="utf-8")
    assert "art@2" in file.read_text(encoding="utf-8")


def test_a_full_disk_does_not_fail_the_run(store: Store, run: runs.Run, settings: Settings) -> None:
    settings.runs_path.parent.mkdir(parents=True, exist_ok=True)
    settings.runs_path.write_text("in the way")

    assert report.write(store.db, settings, run.id) is None


def test_a_run_that_was_not_evaluated_has_no_report(store: Store) -> None:
    with store.write() as db:
        domains.create(db, "art")
        run = runs.queue(db, domains.get(db, "art"), "ann", kind="full")

    with pytest.raises(NotFound, match="Run 1 has no report"):
        report.page(store.db, run.id)


def points(*held_out: float, training: float = 0.5) -> list[LossPoint]:
    return [LossPoint(10 * i, training - i / 100, v, None) for i, v in enumerate(held_out, 1)]


def test_overfitting_is_reported() -> None:
    sentence = report.overfitting(points(1.0, 0.5, 0.8))

    start = "Over-fitting: after step 20 the loss on held-out facts rose from 0.500 to 0.800"
    assert sentence.startswith(start)


def test_held_out_phrasings_decide_about_overfitting() -> None:
    """Facts that nobody taught get less likely whenever others are learned by rote."""

    def told(*probe: float) -> str:
        held = points(5.0, 5.5, 6.9)
        return report.overfitting(
            [replace(p, probe_loss=v) for p, v in zip(held, probe, strict=True)]
        )

    assert told(3.0, 0.5, 0.9).startswith("Over-fitting: after step 20 the loss on held-out phras")
    fine = told(3.0, 0.5, 0.4)
    assert "Over-fitting" not in fine
    assert "does not generalise to facts that it never saw: after step 10" in fine
    assert "rose from 5.000 to 6.900" in fine


@pytest.mark.parametrize(
    "curve",
    [
        [],
        points(1.0, 0.5, 0.51),  # hardly
        points(1.0, 0.8, 0.5),
        [*points(1.0, 0.5), LossPoint(30, 0.9, 0.8, None)],  # the training loss rose, too
    ],
)
def test_other_curves_are_not_reported_as_overfitting(curve: list[LossPoint]) -> None:
    assert report.overfitting(curve) == ""


def test_a_curve_of_one_point_or_of_none_is_drawn() -> None:
    assert loss_chart.svg([]) == "<p>No loss was recorded.</p>"
    assert "polyline" in loss_chart.svg([LossPoint(1, 2.0, None, None)])
    drawn = loss_chart.svg([LossPoint(1, 2.0, 3.0, None, 1.0), LossPoint(2, 1.0, 4.0, None, 0.5)])
    assert drawn.count("<polyline") == 3
    assert "held-out phrasings" in drawn
    assert "No loss" in loss_chart.svg([LossPoint(1, float("nan"), None, None)])
