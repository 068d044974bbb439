"""From which confidence on a domain answers, measured on its own golden questions."""

import pytest

from data.adapters import registry
from data.config.settings import SearchSettings
from data.domains import Domain
from data.pairs import golden
from data.pairs.pairs import Draft
from data.search import confidence, domain_calibration
from data.search.domain_calibration import DomainCalibration, Outcomes, Searched
from data.search.encoder import SHIPPED
from data.search.search import PairSearch
from data.store.clock import now_us
from data.store.db import Store
from tests.data import given

NAMES = (
    *("saddle", "bell", "basket", "pump", "helmet", "lock"),
    *("light", "mirror", "pedal", "tyre", "glove", "rack"),
)
PAIRS = [
    Draft(f"What does a {name} cost?", f"A {name} is {n + 10} euros.", fact=name)
    for n, name in enumerate(NAMES)
]
GOLDEN = [
    Draft(f"How much is a {name}?", f"A {name} is {n + 10} euros.", fact=name, split="golden")
    for n, name in enumerate(NAMES)
]


def some(*found: tuple[float, bool]) -> list[Searched]:
    return [Searched(value, right) for value, right in found]


@pytest.mark.parametrize(
    ("found", "least", "most"),
    [
        ([(0.9, True), (0.2, False)], 0.4, 0.4),  # both are parted by the default
        ([(0.9, True), (0.6, False)], 0.6, 0.7),  # just above the wrong one
        ([(0.3, True), (0.2, False)], 0.2, 0.3),  # as near to the default as possible
        ([(0.9, False), (0.8, True)], 0.9, 1.0),  # one right answer is not worth a wrong one
        ([(0.9, False), (0.8, True), (0.7, True), (0.6, True)], 0.4, 0.4),  # three are
        ([], 0.4, 0.4),
    ],
)
def test_the_threshold_gives_most_right_answers_for_their_price(
    found: list[tuple[float, bool]], least: float, most: float
) -> None:
    assert least <= domain_calibration.best_threshold(some(*found), 0.4) <= most


def test_questions_that_nobody_asked_cost_few_right_answers() -> None:
    """A domain of similar facts, such as one about commands: without its own pairs, nearly every
    question finds a neighbour that the search is as sure of."""
    asked = [Searched(n / 100, True) for n in range(30, 80)]
    made_up = [Searched(n / 100, False, made_up=True) for n in range(10, 70) for _ in range(2)]

    chosen = domain_calibration.best_threshold([*asked, *made_up], 0.27)

    assert 0.27 <= chosen < 0.32
    assert domain_calibration.outcomes(asked, chosen).declined <= 1
    # Counted like questions that people ask, they would decline most of them.
    as_asked = [Searched(s.confidence, s.right) for s in made_up]
    assert domain_calibration.best_threshold([*asked, *as_asked], 0.27) > 0.6


def test_wrong_answers_to_golden_questions_raise_the_threshold_as_far_as_it_takes() -> None:
    asked = some(*[(0.9, True)] * 5, *[(0.6, False)] * 5, *[(0.5, True)] * 5)
    made_up = [Searched(0.1, False, made_up=True)] * 10

    assert 0.6 < domain_calibration.best_threshold([*asked, *made_up], 0.27) < 0.9


def test_made_up_questions_never_lower_the_threshold_for_one_stray_question() -> None:
    asked = some((0.05, True), *[(0.9, True)] * 10)
    made_up = [Searched(0.2, False, made_up=True)] * 22

    assert domain_calibration.best_threshold([*asked, *made_up], 0.27) == 0.27


def test_few_questions_move_the_threshold_a_little() -> None:
    found = some(*[(0.9, True), (0.6, False)] * 10)
    best = domain_calibration.best_threshold(found, 0.4)

    few, low, high = domain_calibration.fit(found, 20, 0.4)
    many, _, _ = domain_calibration.fit(found, 100, 0.4)

    assert many == best > few == pytest.approx(0.4 + 0.2 * (best - 0.4))
    assert low <= few <= high


def test_the_interval_is_wider_where_questions_contradict_each_other() -> None:
    clear = some(*[(0.9, True), (0.1, False)] * 20)
    mixed = some(*[(n / 40, n % 3 > 0) for n in range(40)])

    _, low, high = domain_calibration.fit(clear, 100, 0.4)
    _, lowest, highest = domain_calibration.fit(mixed, 100, 0.4)

    assert (low, high) == (0.4, 0.4)
    assert highest - lowest > 0.1


def test_outcomes_of_a_threshold() -> None:
    found = some((0.9, True), (0.5, False), (0.2, True), (0.1, False))

    assert domain_calibration.outcomes(found, 0.4) == Outcomes(right=1, declined=2, wrong=1)


@pytest.mark.integration
def test_a_domain_is_measured_on_its_golden_questions(store: Store, domain: Domain) -> None:
    with store.write() as db:
        given.approved(db, domain, *PAIRS, *GOLDEN)
    search = PairSearch(store, SearchSettings())

    found = domain_calibration.measure(store.db, domain, search)

    assert found is not None
    made, shipped_from = found.calibration, found.shipped_from
    assert made.questions == len(GOLDEN)
    assert abs(made.answer_from - shipped_from) <= len(GOLDEN) / domain_calibration.ENOUGH
    before, after = found.golden
    assert sum((before.right, before.declined, before.wrong)) == len(GOLDEN)
    assert after.right >= 10
    assert found.unanswerable[1].right == 0


@pytest.mark.integration
def test_without_golden_questions_the_shipped_threshold_stays(store: Store, domain: Domain) -> None:
    with store.write() as db:
        given.approved(db, domain, *PAIRS)

    assert domain_calibration.measure(store.db, domain, PairSearch(store, SearchSettings())) is None


@pytest.mark.integration
def test_words_cannot_be_calibrated(store: Store, domain: Domain) -> None:
    with store.write() as db:
        given.approved(db, domain, *PAIRS, *GOLDEN)
    search = PairSearch(store, SearchSettings(encoder="words"))

    assert domain_calibration.measure(store.db, domain, search) is None


def test_a_saved_calibration_counts_for_its_encoder_alone(store: Store, domain: Domain) -> None:
    shipped = confidence.read(SHIPPED)
    assert shipped is not None
    with store.write() as db:
        own = DomainCalibration(shipped.encoder, 0.7, 0.6, 0.8, 123)
        domain_calibration.save(db, domain, own)
    assert domain_calibration.newest(store.db, domain) == own
    used = domain_calibration.thresholds(store.db, domain, shipped.encoder)
    assert used is not None
    assert used.answer_from == 0.7 <= used.sure_from
    assert domain_calibration.thresholds(store.db, domain, "another") is None

    with store.write() as db:
        domain_calibration.save(db, domain, DomainCalibration("older", 0.7, 0.6, 0.8, 123))
    used = domain_calibration.thresholds(store.db, domain, shipped.encoder)
    assert used is not None
    assert used.answer_from == shipped.answer_from

    with store.write() as db:
        domain_calibration.remove(db, domain)
    assert domain_calibration.newest(store.db, domain) is None


def calibrated(store: Store, domain: Domain, version: int, answer_from: float, at: int) -> None:
    made = {"encoder": shipped().encoder, "answer_from": answer_from, "low": 0.1, "high": 0.9}
    scores = {"calibration": {**made, "questions": 120, "at": at}}
    with store.write() as db:
        adapter = registry.register(
            db, domain, version=version, sha256=f"{version}" * 64, path=f"adapters/x/{version}",
            rank=8, base_model="pocket", size_bytes=1, recipe={}, scores=scores, dataset_id=None,
            parent_id=None,
        )  # fmt: skip
        registry.promote(db, adapter, "ann")


def shipped() -> confidence.Calibration:
    found = confidence.read(SHIPPED)
    assert found is not None
    return found


def test_the_threshold_comes_with_the_live_adapter(store: Store, domain: Domain) -> None:
    encoder = shipped().encoder

    def used(version: int | None = None) -> float:
        found = domain_calibration.thresholds(store.db, domain, encoder, version)
        assert found is not None
        return found.answer_from

    assert used() == shipped().answer_from
    calibrated(store, domain, 1, 0.31, now_us())
    calibrated(store, domain, 2, 0.42, now_us())
    assert used() == 0.42
    assert used(1) == 0.31  # a version that was asked for by its name
    with store.write() as db:
        registry.roll_back(db, domain, "ann")
    assert used() == 0.31
    with store.write() as db:  # measured by hand afterwards
        own = DomainCalibration(encoder, 0.25, 0.2, 0.3, 123)
        domain_calibration.save(db, domain, own)
    assert used() == 0.25
    assert used(1) == 0.31


@pytest.mark.integration
def test_an_adapter_is_calibrated_by_its_own_right_answers(store: Store, domain: Domain) -> None:
    """Its wrong answers to what a pair answers make nobody's question declined."""
    with store.write() as db:
        given.approved(db, domain, *PAIRS, *GOLDEN)
    search = PairSearch(store, SearchSettings())
    asked = golden.list_golden(store.db, domain)

    first_hit = domain_calibration.measure(store.db, domain, search)
    wrong = domain_calibration.measure(store.db, domain, search, {q.id: False for q in asked})
    few = domain_calibration.measure(store.db, domain, search, {asked[0].id: True})

    assert first_hit is not None
    assert wrong is not None
    assert wrong.golden == first_hit.golden
    assert few is None


@pytest.mark.integration
def test_an_adapter_that_reads_the_right_reference_counts(store: Store, domain: Domain) -> None:
    """Although the search found another pair first."""
    with store.write() as db:
        given.approved(db, domain, *PAIRS, *GOLDEN)
        db.execute("UPDATE pairs SET fact = fact || '-2', response = 'Ask.' WHERE split = 'golden'")
    search = PairSearch(store, SearchSettings())
    asked = golden.list_golden(store.db, domain)

    first_hit = domain_calibration.measure(store.db, domain, search)
    right = domain_calibration.measure(store.db, domain, search, {q.id: True for q in asked})

    assert first_hit is not None
    assert right is not None
    assert first_hit.golden[1].right == 0
    assert right.golden[1].right >= 10
