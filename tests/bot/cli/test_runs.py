"""`understudy runs show`: the metrics of the report, in a terminal."""

import pytest

from data import domains
from data.config.settings import Settings
from data.runs import report as runs_report
from data.store.db import Store
from tests.bot.cli.conftest import Run, json
from tests.evaluated import evaluated


@pytest.fixture(autouse=True)
def made(run: Run, store: Store) -> None:
    with store.write() as db:
        domains.create(db, "art")
        evaluated(db, passed=False, reason="It is worse.")


def test_it_shows_the_metrics_of_the_report(run: Run, store: Store) -> None:
    shown = run("runs", "show", "1").output

    report = runs_report.gather(store.db, 1)
    for label, *values in runs_report.table(report, "golden"):
        assert label in shown
        assert [v for v in values if v not in shown] == []
    for words in ("rejected: It is worse.", "Answered by the engine", "golden, 2 of 9", "art@1 (li",
                  "Over-fitting: after step 20", "✗"):  # fmt: skip
        assert words in shown


def test_pairs_that_were_left_out_are_counted(run: Run, store: Store) -> None:
    assert "left out" not in run("runs", "show", "1").output
    with store.write() as db:
        db.execute("UPDATE adapters SET scores = json_set(scores, '$.pairs_superseded', 1)")

    shown = " ".join(run("runs", "show", "1").output.split())

    assert "left out 1 pair with a newer answer to the same question" in shown


def test_json_has_the_metrics(run: Run) -> None:
    found = json(run("runs", "show", "1", "--json"))

    assert isinstance(found, dict)
    assert found["evaluation"]["sets"]["golden"]["candidate"]["f1"] == 0.6
    assert [rule["passed"] for rule in found["gate"]] == [None, False]


def test_it_names_the_report_page(run: Run, store: Store) -> None:
    settings = Settings(home=store.path.parent)
    file = runs_report.write(store.db, settings, 1)

    assert file is not None
    assert "report.html" in "".join(run("runs", "show", "1").output.split())
