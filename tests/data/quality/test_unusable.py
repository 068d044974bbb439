"""Pairs that no run can learn, and what becomes of them when a file is imported."""

import dataclasses
from pathlib import Path

import pytest

from data.config.settings import Settings
from data.domains import Domain
from data.pair_files import importer
from data.pairs import pairs
from data.pairs.pairs import Draft, Turn
from data.quality import token_counts, unusable
from data.quality.findings import Policy, Surroundings
from data.quality.unusable import UnusableDrafts
from data.store.db import Store
from tests.data.quality.given_rows import pair

LONG = "It opens at nine. " * 40
ROWS = (
    '{"prompt": "When?", "response": "At nine."}\n'
    f'{{"prompt": "How long?", "response": "{LONG}"}}\n'
    '{"prompt": "How?", "response": "Say <|im_end|> twice."}\n'
    f'{{"prompt": "{LONG}", "response": "So long."}}\n'
    f'{{"prompt": "How?", "response": "{LONG}", "status": "rejected"}}\n'
)


@pytest.fixture
def around(tmp_path: Path, domain: Domain) -> Surroundings:
    settings = Settings.model_validate({"home": str(tmp_path), "base": {"model": "pocket"}})
    return token_counts.of_base(settings, domain, max_length=100)


def imported(
    store: Store, domain: Domain, around: Surroundings, tmp_path: Path, policy: Policy
) -> importer.ImportReport:
    file = tmp_path / "p.jsonl"
    file.write_text(ROWS)
    judge = UnusableDrafts(domain, around, policy)
    seen = importer.preview_file(store, domain, file, unusable=judge)
    done = importer.import_file(store, domain, file, unusable=judge)
    same = ("added", "bad", "unusable", "unusable_total")
    assert [getattr(seen, name) for name in same] == [getattr(done, name) for name in same]
    return done


def test_they_are_put_in_quarantine(
    store: Store, domain: Domain, around: Surroundings, tmp_path: Path
) -> None:
    report = imported(store, domain, around, tmp_path, "quarantine")
    assert (report.added, report.bad_total) == (5, 0)
    assert report.unusable_total == {"too-long": 2, "control-tokens": 1}
    assert [(one.pair_id, one.became) for one in report.unusable] == [
        (2, "put in quarantine"),
        (3, "put in quarantine"),
        (4, "put in quarantine"),
    ]
    stored = [pair.status for pair in pairs.list_pairs(store.db, domain)]
    assert stored == ["approved", "quarantined", "quarantined", "quarantined", "rejected"]
    assert unusable.find(pairs.list_pairs(store.db, domain, "approved"), around) == []


def test_they_are_refused(
    store: Store, domain: Domain, around: Surroundings, tmp_path: Path
) -> None:
    report = imported(store, domain, around, tmp_path, "refuse")
    assert (report.added, report.unusable_total) == (2, {})
    assert [bad.line for bad in report.bad] == [2, 3, 4]
    assert report.bad[0].reason.startswith("too long for the base model (")
    assert report.bad[0].reason.endswith("tokens, and at most 100 fit)")
    assert "<|im_end|>" in report.bad[1].reason


def test_long_answers_end_after_a_sentence(
    store: Store, domain: Domain, around: Surroundings, tmp_path: Path
) -> None:
    report = imported(store, domain, around, tmp_path, "truncate")
    became = {one.pair_id: one.became for one in report.unusable}
    assert became == {2: "shortened", 3: "put in quarantine", 4: "put in quarantine"}
    cut = pairs.list_pairs(store.db, domain)[1]
    assert cut.status == "approved"
    assert cut.response.endswith("nine.")
    assert around.count_tokens is not None
    longer = dataclasses.replace(cut, response=f"{cut.response} It opens at nine.")
    fits, does_not = (one.total for one in around.count_tokens([cut, longer]))
    assert fits <= 100 < does_not


def test_an_answer_is_not_cut_within_code(around: Surroundings) -> None:
    code = "Do this.\n```\n" + "run it.\n" * 60 + "```\nDone."
    assert unusable.shortened(pair(1, "How?", code), around) == "Do this."
    assert unusable.shortened(pair(1, "How?", "on and " * 200), around) == ""


def test_only_pairs_that_may_be_faulty_are_counted(around: Surroundings) -> None:
    counted: list[int] = []

    def count(some: object) -> list[object]:
        counted.extend(one.id for one in some)  # type: ignore[attr-defined]
        assert around.count_tokens is not None
        return list(around.count_tokens(some))  # type: ignore[arg-type]

    spied = dataclasses.replace(around, count_tokens=count, max_tokens=200)
    odd = dataclasses.replace(pair(3, "Why?", "So."), turns=(Turn("user", "Hello?"),))
    some = [pair(1, "Why?", "So."), pair(2, "Why?", "word " * 60), odd]
    assert unusable.find(some, spied) == []
    assert counted == [2, 3]


def test_without_the_base_nothing_is_judged(domain: Domain) -> None:
    long = Draft("Why?", "So. " * 9000)
    assert UnusableDrafts(domain, Surroundings(max_tokens=10), "refuse").judge(long) is None
