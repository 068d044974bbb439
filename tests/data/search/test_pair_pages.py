"""Pages of pairs: filters, full-text search over every status, and how they are looked up."""

from dataclasses import replace

import pytest
from sqlite_utils import Database

from data import domains
from data.domains import Domain
from data.pairs import pairs, review_status
from data.pairs.pairs import Draft
from data.search import pair_pages
from data.search.pair_pages import PairFilter
from data.store.db import Store, rows


@pytest.fixture
def domain(store: Store) -> Domain:
    with store.write() as db:
        return domains.create(db, "helpdesk")


def add(store: Store, domain: Domain, *drafts: Draft, status: str = "approved") -> list[int]:
    with store.write() as db:
        return pairs.add(db, domain, list(drafts), source="import", status=status).ids  # type: ignore[arg-type]


def found(db: Database, domain: Domain, wanted: PairFilter) -> list[int]:
    listed = [pair.id for pair in pair_pages.page(db, domain, wanted).pairs]
    assert pair_pages.count(db, domain, wanted) == len(listed)
    assert pair_pages.ids(db, domain, wanted) == listed
    return listed


def test_pages_follow_one_another_whatever_is_added_meanwhile(store: Store, domain: Domain) -> None:
    ids = add(store, domain, *(Draft(f"Question {n}?", "Yes.") for n in range(7)))
    first = pair_pages.page(store.db, domain, PairFilter(), limit=3)
    add(store, domain, Draft("Another?", "Yes."))
    assert first.following is not None
    second = pair_pages.page(store.db, domain, PairFilter(), first.following, limit=3)
    assert second.following is not None
    third = pair_pages.page(store.db, domain, PairFilter(), second.following, limit=3)

    listed = [pair.id for page in (first, second, third) for pair in page.pairs]
    assert listed == ids[::-1]
    assert third.following is None


def test_words_are_found_in_pairs_of_every_status(store: Store, domain: Domain) -> None:
    ids = add(store, domain, Draft("Wo ist der Drucker?", "Im Flur."))
    ids += add(store, domain, Draft("Druckertreiber?", "Ja."), status="pending")
    ids += add(store, domain, Draft("Golden?", "Der DRÜCKER.", split="golden"))
    ids += add(store, domain, Draft("Other?", "No."))
    db = store.db

    assert found(db, domain, PairFilter(words="drucker")) == ids[2::-1]
    assert found(db, domain, PairFilter(words="DRUCKER flur")) == [ids[0]]
    assert found(db, domain, PairFilter(words="drucker", status="pending")) == [ids[1]]
    assert found(db, domain, PairFilter(words="drucker", split="golden")) == [ids[2]]
    assert found(db, domain, PairFilter(words="Ja")) == [ids[1]]  # shorter than the index knows
    assert found(db, domain, PairFilter(words="100%")) == []

    with store.write() as db:
        review_status.set_status(db, ids[1], "approved", "user:ann")
        review_status.set_status(db, ids[0], "rejected", "user:ann")
    assert found(store.db, domain, PairFilter(words="drucker")) == ids[2::-1]
    assert found(store.db, domain, PairFilter(words="drucker", status="rejected")) == [ids[0]]
    with store.write() as db:
        db.execute("DELETE FROM pairs WHERE id = ?", [ids[0]])
        db.execute("UPDATE pairs SET forgotten_at = 1 WHERE id = ?", [ids[1]])
    assert found(store.db, domain, PairFilter(words="drucker")) == [ids[2]]
    store.db.execute("INSERT INTO other_pair_search (other_pair_search) VALUES ('integrity-check')")


def test_every_filter_narrows_the_list(store: Store, domain: Domain) -> None:
    with store.write() as db:
        other = domains.create(db, "travel")
        pairs.add(db, other, [Draft("Elsewhere?", "Yes.", fact="f")], source="import")
        one = pairs.add(db, domain, [Draft("A?", "1", fact="f")], source="teach", status="approved")
        two = pairs.add(db, domain, [Draft("B?", "2")], source="import", import_id=4)
        (a,), (b,) = one.ids, two.ids
        db.execute(
            "INSERT INTO quality_marks (domain_id, check_name, pair_id) VALUES (?, 'html', ?)",
            [domain.id, b],
        )
    everything = PairFilter()
    for given, expected in (
        ({}, [b, a]),
        ({"status": "approved"}, [a]),
        ({"source": "import"}, [b]),
        ({"batch": 4}, [b]),
        ({"fact": "f"}, [a]),
        ({"finding": "html"}, [b]),
        ({"split": "golden"}, []),
        ({"finding": "html", "status": "approved"}, []),
        ({"finding": "html", "words": "B"}, [b]),
        ({"batch": 4, "source": "teach"}, []),
    ):
        assert found(store.db, domain, replace(everything, **given)) == expected, given  # type: ignore[arg-type]


def test_sources_are_listed_without_reading_the_pairs(store: Store, domain: Domain) -> None:
    assert pair_pages.sources(store.db, domain) == []
    for source in ("teach", "import", "import", "correction"):
        with store.write() as db:
            number = pair_pages.count(db, domain, PairFilter())
            pairs.add(db, domain, [Draft(f"Question {number}?", "Yes.")], source=source)

    assert pair_pages.sources(store.db, domain) == ["correction", "import", "teach"]
    plan = rows(store.db, f"EXPLAIN QUERY PLAN {pair_pages.SOURCES}", {"domain": domain.id})
    steps = [str(r["detail"]) for r in plan if "SEARCH" in r["detail"]]
    assert len(steps) == 2
    assert all("COVERING INDEX pairs_by_source" in step for step in steps), steps


def test_facts_list_their_phrasings(store: Store, domain: Domain) -> None:
    add(store, domain, Draft("A?", "1", fact="seats"), Draft("B?", "1", fact="seats"))
    add(store, domain, Draft("C?", "3", fact="rooms"))
    add(store, domain, Draft("D?", "1", fact="seats"), status="pending")

    (fact,) = pair_pages.facts(store.db, domain)

    assert (fact.fact, fact.total) == ("seats", 2)
    assert [pair.prompt for pair in fact.pairs] == ["A?", "B?"]
    assert pair_pages.facts(store.db, domain, "seats") == []


@pytest.mark.parametrize(
    ("wanted", "index"),
    [
        (PairFilter(), "COVERING INDEX pairs_listed"),
        (PairFilter(status="pending", split="train", source="x"), "COVERING INDEX pairs_listed"),
        (PairFilter(batch=1), "INDEX pairs_by_import"),
        (PairFilter(fact="f"), "INDEX pairs_by_fact"),
        (PairFilter(finding="html"), "SEARCH m USING PRIMARY KEY"),
        (PairFilter(words="printer"), "VIRTUAL TABLE INDEX"),
        (PairFilter(words="printer", finding="html"), "VIRTUAL TABLE INDEX"),
    ],
)
def test_no_page_reads_or_sorts_whole_pairs(
    store: Store, domain: Domain, wanted: PairFilter, index: str
) -> None:
    for sql, params in pair_pages._queries(domain, wanted, 99, 50):
        plan = [str(r["detail"]) for r in rows(store.db, f"EXPLAIN QUERY PLAN {sql}", params)]
        assert any(index in step for step in plan), plan
        assert not any(step.startswith(("SCAN p", "SCAN m")) for step in plan), plan
        assert wanted.fact or not any("TEMP B-TREE" in step for step in plan), plan


@pytest.mark.parametrize("mark", ["%", "_", "!", "100%", ":-)"])
def test_marks_are_found_as_they_are(store: Store, domain: Domain, mark: str) -> None:
    """A mark that fits every pair would let somebody reject all of them by a search."""
    (with_it, _) = add(store, domain, Draft(f"Is it {mark} ?", "Yes."), Draft("Is it red?", "No."))

    assert found(store.db, domain, PairFilter(words=mark)) == [with_it]
