"""A threshold that was measured is measured anew after the pairs have changed."""

from typing import Any

import pytest
from sqlite_utils import Database

from data.adapters import registry
from data.config.settings import SearchSettings
from data.domains import Domain
from data.pairs import golden, pair_edits
from data.pairs.pairs import Draft
from data.search import confidence, domain_calibration, layout, vectors
from data.search.domain_calibration import DomainCalibration
from data.search.encoder import SHIPPED
from data.search.recalibration import Recalibration
from data.search.search import PairSearch
from data.store.db import Store
from tests.conftest import wait_until
from tests.data import given
from tests.data.search.test_domain_calibration import GOLDEN, PAIRS

pytestmark = pytest.mark.integration


@pytest.fixture
def search(store: Store, domain: Domain) -> PairSearch:
    with store.write() as db:
        given.approved(db, domain, *PAIRS, *GOLDEN)
    return PairSearch(store, SearchSettings())


def measured(store: Store, domain: Domain) -> DomainCalibration:
    found = domain_calibration.in_use(store.db, domain)
    assert found is not None
    return found


def change(store: Store, domain: Domain, search: PairSearch, name: str) -> None:
    with store.write() as db:
        given.approved(db, domain, Draft(f"What does a {name} cost?", f"A {name} is 7 euros."))
    search.complete(domain)


def test_it_is_measured_when_its_pairs_have_changed_and_then_rested(
    store: Store, domain: Domain, search: PairSearch
) -> None:
    looking = Recalibration(store, search, wait_s=0)
    assert [looking.look(), looking.look()] == [[], []]  # it was never measured
    first = domain_calibration.refit(store, domain, search)
    assert first is not None
    assert [looking.look(), looking.look()] == [[], []]

    change(store, domain, search, "bridge")
    assert looking.look() == []  # it may still be changing
    change(store, domain, search, "tunnel")
    assert looking.look() == []
    assert looking.look() == [domain.name]

    anew = measured(store, domain)
    assert anew.revision == domain_calibration.revision(store.db, domain)
    assert first.revision is not None
    assert anew.revision is not None
    assert anew.revision > first.revision
    assert [looking.look(), looking.look()] == [[], []]


def test_it_waits_for_the_vectors_and_does_not_make_them_itself(
    store: Store, domain: Domain, search: PairSearch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of a large import take minutes, in which the bot could not stop."""
    domain_calibration.refit(store, domain, search)
    measure, encoder = domain_calibration.measure, search.encoder()
    assert encoder is not None

    def complete(*given: Any) -> Any:
        assert vectors.without_vectors(store.db, domain, encoder, 0, 1) == []
        return measure(*given)

    monkeypatch.setattr(domain_calibration, "measure", complete)
    looking = Recalibration(store, search, wait_s=0)
    with store.write() as db:
        given.approved(db, domain, Draft("What does a bridge cost?", "A bridge is 7 euros."))
    found: list[str] = []
    wait_until(lambda: found.extend(looking.look()) or bool(found), "the measurement", 20)
    assert found == [domain.name]


def test_a_new_golden_question_counts_as_well(
    store: Store, domain: Domain, search: PairSearch
) -> None:
    domain_calibration.refit(store, domain, search)
    with store.write() as db:
        golden.add(db, domain, "Price of a spoke?", "A spoke is 1 euro.", "cli:ann")
    looking = Recalibration(store, search, wait_s=0)

    assert [looking.look(), looking.look()] == [[], [domain.name]]
    assert measured(store, domain).questions == len(GOLDEN) + 1


def test_other_words_of_a_golden_question_count_as_well(
    store: Store, domain: Domain, search: PairSearch
) -> None:
    """Their number stays, and no pair that the search finds changes."""
    first = domain_calibration.refit(store, domain, search)
    with store.write() as db:
        old = golden.list_golden(db, domain)[0]
        pair_edits.edit(
            db, old.id, pair_edits.seen(old), "cli:ann", prompt=f"Please: {old.prompt}",
            response=old.response, fact=pair_edits.named_fact(old), status="approved",
        )  # fmt: skip
    assert first is not None
    assert golden.count(store.db, domain) == first.questions
    assert domain_calibration.revision(store.db, domain) == first.revision
    looking = Recalibration(store, search, wait_s=0)

    assert [looking.look() for _ in range(3)] == [[], [domain.name], []]
    again = Recalibration(store, search, wait_s=0)
    assert [again.look(), again.look()] == [[], []]


def test_going_back_to_the_shipped_threshold_meanwhile_is_kept(
    store: Store, domain: Domain, search: PairSearch, monkeypatch: pytest.MonkeyPatch
) -> None:
    domain_calibration.refit(store, domain, search)
    change(store, domain, search, "bridge")
    measure = domain_calibration.measure

    def reset_meanwhile(*given: Any) -> Any:
        found = measure(*given)
        with store.write() as db:
            domain_calibration.remove(db, domain)
        return found

    monkeypatch.setattr(domain_calibration, "measure", reset_meanwhile)
    looking = Recalibration(store, search, wait_s=0)

    assert [looking.look(), looking.look()] == [[], []]
    assert domain_calibration.in_use(store.db, domain) is None


def test_an_adapter_that_reads_references_brings_its_threshold_when_it_goes_live(
    store: Store, domain: Domain, search: PairSearch
) -> None:
    """Also where the domain was measured anew between its evaluation and its promotion."""
    domain_calibration.refit(store, domain, search)
    own = DomainCalibration(measured(store, domain).encoder, 0.42, 0.4, 0.5, 12)
    with store.write() as db:
        adapter = registry.register(
            db, domain, version=1, sha256="1" * 64, path="adapters/x/1", rank=8, parent_id=None,
            base_model="pocket", size_bytes=1, dataset_id=None,
            recipe={"references": 4, layout.RECIPE_FIELD: layout.VERSION},
            scores={"calibration": own.plain()},
        )  # fmt: skip
    change(store, domain, search, "bridge")
    looking = Recalibration(store, search, wait_s=0)
    assert [looking.look(), looking.look()] == [[], [domain.name]]
    assert measured(store, domain).answer_from != own.answer_from

    with store.write() as db:
        registry.promote(db, adapter, "ann")
    assert measured(store, domain) == own
    made = domain_calibration.refit(store, domain, search)  # somebody measures on purpose
    assert measured(store, domain) == made


def test_a_threshold_of_another_encoder_is_measured_anew(
    store: Store, domain: Domain, search: PairSearch
) -> None:
    with store.write() as db:
        domain_calibration.save(db, domain, DomainCalibration("older", 0.7, 0.6, 0.8, 12))
    search.complete(domain)
    looking = Recalibration(store, search, wait_s=0)

    assert [looking.look(), looking.look()] == [[], [domain.name]]
    shipped = confidence.read(SHIPPED)
    assert shipped is not None
    assert measured(store, domain).encoder == shipped.encoder


def test_it_waits_between_two_measurements(
    store: Store, domain: Domain, search: PairSearch
) -> None:
    domain_calibration.refit(store, domain, search)
    looking = Recalibration(store, search, wait_s=3600)
    found = []
    for name in ("bridge", "tunnel"):
        change(store, domain, search, name)
        found.append([looking.look(), looking.look()])
    assert found == [[[], [domain.name]], [[], []]]


def test_what_cannot_be_measured_is_tried_once(
    store: Store, domain: Domain, search: PairSearch, monkeypatch: pytest.MonkeyPatch
) -> None:
    domain_calibration.refit(store, domain, search)
    with store.write() as db:
        db.execute("UPDATE pairs SET status = 'rejected' WHERE split = 'golden'")
    tried: list[str] = []

    def measure(db: Database, domain: Domain, search: PairSearch) -> None:
        tried.append(domain.name)

    monkeypatch.setattr(domain_calibration, "measure", measure)
    looking = Recalibration(store, search, wait_s=0)

    assert [looking.look() for _ in range(4)] == [[]] * 4
    assert tried == [domain.name]


@pytest.mark.parametrize(("references", "anew"), [(0, True), (4, False)])
def test_an_adapter_that_reads_references_keeps_its_threshold(
    store: Store, domain: Domain, search: PairSearch, references: int, anew: bool
) -> None:
    """Its own answers count in it. That of other adapters is measured by the search alone."""
    found = domain_calibration.measure(store.db, domain, search)
    assert found is not None
    recipe: dict[str, Any] = {"references": references, layout.RECIPE_FIELD: layout.VERSION}
    with store.write() as db:
        adapter = registry.register(
            db, domain, version=1, sha256="1" * 64, path="adapters/x/1", rank=8, parent_id=None,
            base_model="pocket", size_bytes=1, recipe=recipe, dataset_id=None,
            scores={"calibration": found.calibration.plain()},
        )  # fmt: skip
        registry.promote(db, adapter, "ann")
    change(store, domain, search, "bridge")
    looking = Recalibration(store, search, wait_s=0)

    assert [looking.look(), looking.look()] == [[], [domain.name] if anew else []]
    assert (measured(store, domain).revision != found.calibration.revision) == anew


def test_words_and_domains_that_never_were_measured_are_left_alone(
    store: Store, domain: Domain
) -> None:
    with store.write() as db:
        domain_calibration.save(db, domain, DomainCalibration("older", 0.7, 0.6, 0.8, 12))
    looking = Recalibration(store, PairSearch(store, SearchSettings(encoder="words")), wait_s=0)

    assert [looking.look(), looking.look()] == [[], []]
    assert measured(store, domain).encoder == "older"
