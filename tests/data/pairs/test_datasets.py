"""Datasets: which pairs are trained on and which are evaluated, chosen deterministically."""

import hashlib
import random
from collections import defaultdict
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sqlite_utils import Database

from data import domains
from data.domains import Domain
from data.pairs import datasets, pairs, review_status
from data.pairs.datasets import EmptyDataset, Part
from data.pairs.pairs import Draft, Pair, Split
from data.pairs.question_matching import Index
from data.store.db import Store, value
from data.store.errors import NotFound
from tests.data import given as made

PROMPTS = [f"question {n}" for n in range(40)]
marks = st.sampled_from(["auto", "auto", "auto", "train", "validation", "golden"])
drafts = st.builds(
    Draft,
    prompt=st.sampled_from(PROMPTS),
    response=st.sampled_from([f"answer {n}" for n in range(12)]),
    fact=st.sampled_from(["", *"abcdefghijkl"]),
    split=marks,
)
selections = st.lists(drafts, min_size=1, max_size=40, unique_by=pairs.fingerprint)
shares = st.sampled_from([0.0, 0.1, 0.3, 0.5])


PARTS: tuple[Part, ...] = ("train", "validation", "probe", "golden")


def stored(found: list[Draft], start: int = 1) -> list[Pair]:
    """Drafts as the store would give them back."""
    return [
        Pair(
            id=number,
            domain_id=1,
            prompt=draft.prompt,
            response=draft.response,
            system=draft.system,
            turns=draft.turns,
            fact=draft.fact or pairs.fact_of(draft.response),
            split=draft.split,
            source="import",
            source_ref="",
            author="",
            status="approved",
            fingerprint=pairs.fingerprint(draft),
            created_at=0,
        )
        for number, draft in enumerate(found, start)
    ]


def by_words(found: list[Pair], share: float) -> dict[str, Part]:
    """Fingerprint -> part: the split without regard to ids."""
    parts = datasets.split(found, share)
    return {pair.fingerprint: parts[pair.id] for pair in found}


@given(selections, shares)
@settings(deadline=None)
def test_paraphrases_of_a_fact_are_never_in_both_training_and_validation(
    found: list[Draft], share: float
) -> None:
    parts_of_fact: dict[str, set[Part]] = defaultdict(set)
    for pair in (everyone := stored(found)):
        parts_of_fact[pair.fact].add(datasets.split(everyone, share)[pair.id])
    for fact, parts in parts_of_fact.items():
        assert not ("validation" in parts and parts & {"train", "probe"}), fact


@given(selections, shares)
@settings(deadline=None)
def test_a_question_is_not_both_trained_on_and_measured(found: list[Draft], share: float) -> None:
    everyone = stored(found)
    parts = datasets.split(everyone, share)
    trained = {pair.prompt for pair in everyone if parts[pair.id] == "train"}
    measured = {pair.prompt for pair in everyone if parts[pair.id] != "train"}
    assert trained & measured == set()


@given(selections, shares)
@settings(deadline=None)
def test_golden_pairs_stay_golden_and_every_pair_has_one_part(
    found: list[Draft], share: float
) -> None:
    everyone = stored(found)
    parts = datasets.split(everyone, share)
    assert set(parts) == {pair.id for pair in everyone}
    assert all(parts[pair.id] == "golden" for pair in everyone if pair.split == "golden")


@given(selections, shares, st.integers(0, 99))
@settings(deadline=None)
def test_the_split_does_not_depend_on_order_or_ids(
    found: list[Draft], share: float, seed: int
) -> None:
    shuffled = random.Random(seed).sample(found, len(found))
    assert by_words(stored(found), share) == by_words(stored(shuffled, start=1000), share)


@given(selections, shares)
@settings(deadline=None)
def test_a_larger_share_only_adds_to_validation(found: list[Draft], share: float) -> None:
    everyone = stored(found)
    less, more = datasets.split(everyone, share), datasets.split(everyone, share + 0.2)
    kept_out = {pair_id for pair_id, part in less.items() if part == "validation"}
    assert kept_out <= {pair_id for pair_id, part in more.items() if part == "validation"}


@pytest.mark.integration
@given(selections)
@settings(deadline=None)
def test_without_a_share_only_marked_facts_are_validation(found: list[Draft]) -> None:
    assume(all(draft.split in ("auto", "golden") for draft in found))
    assert "validation" not in datasets.split(stored(found), 0.0).values()


def test_a_mark_on_one_phrasing_applies_to_the_whole_fact() -> None:
    found = stored([Draft(f"q{n}", "x", fact="f") for n in range(5)])
    found += stored([Draft("q5", "x", fact="f", split="validation")], start=6)
    assert set(datasets.split(found, 0.0).values()) == {"validation"}


@pytest.mark.parametrize("order", [("train", "validation"), ("validation", "train")])
def test_a_fact_that_is_marked_both_ways_is_never_trained_on(order: tuple[Split, Split]) -> None:
    found = stored([Draft(f"q{n}", "x", fact="f", split=mark) for n, mark in enumerate(order)])
    assert set(datasets.split(found, 0.0).values()) == {"validation"}


def test_facts_that_share_a_question_are_one_fact() -> None:
    drafts = [Draft("a", "1", fact="f"), Draft("A ", "2", fact="g"), Draft("c", "2", fact="g")]
    others = [Draft(f"q{n}", f"a{n}") for n in range(20)]
    for share in (0.1, 0.2, 0.3, 0.4, 0.5):
        parts = datasets.split(stored(drafts + others), share)
        assert parts[1] == parts[2] == parts[3]


@pytest.mark.parametrize(
    "again",
    ["{}?", "please {}", "{}!!", "{}s"],
)
def test_no_question_is_both_trained_on_and_measured_in_nearly_the_same_words(again: str) -> None:
    nouns = ("lamp", "desk", "door", "wall", "key", "copier", "window", "bicycle", "kettle")
    places = ("office", "garden", "cellar", "library", "kitchen", "workshop", "attic")
    asked = [f"where do I find the {noun} of the {place}" for noun in nouns for place in places]
    drafts = [Draft(words, f"In room {n}.") for n, words in enumerate(asked)]
    drafts += [Draft(again.format(words), f"Room {n}, I think.") for n, words in enumerate(asked)]
    found = stored(drafts)
    parts = datasets.split(found, 0.3)
    trained: Index[int] = Index()
    for pair in found:
        if parts[pair.id] == "train":
            trained.add(pair.id, pair.prompt)
    measured = [pair for pair in found if parts[pair.id] != "train"]
    assert len(measured) > 10
    assert [trained.find(pair.prompt) for pair in measured] == [None] * len(measured)


def test_a_probe_is_not_trained_on_save_for_a_question_mark() -> None:
    found = stored(
        [
            Draft(f"{word} is number {f}{mark}", f"a{f}", fact=f"f{f}")
            for f in range(80)
            for word in ("what", "which", "who")
            for mark in ("", "?")
        ]
    )
    parts = datasets.split(found, 0.1)
    assert "probe" not in parts.values()


def test_a_question_that_was_learned_in_nearly_the_same_words_is_not_new() -> None:
    found = stored([Draft("Is it open?", "Yes."), Draft("is it open", "No."), Draft("Why?", "So.")])
    assert datasets.asked_by(found, {1, 99}) == {1, 2}


def test_folds_of_a_cross_validation_share_no_question() -> None:
    asked = [f"what is in {place} {n}" for place in ("room", "box", "hall") for n in range(9)]
    drafts = [Draft(q + mark, f"{q} {mark}") for q in asked for mark in ("", "?")]
    groups = datasets.fact_groups(stored(drafts))
    assert [groups[i] == groups[i + 1] for i in range(1, 54)] == [True, False] * 26 + [True]


def test_a_probe_is_one_phrasing_of_a_fact_that_is_trained_on() -> None:
    found = stored([Draft(f"q{f}-{n}", f"a{f}", fact=f"f{f}") for f in range(80) for n in range(5)])
    parts = datasets.split(found, 0.1)
    probed = [pair.fact for pair in found if parts[pair.id] == "probe"]
    trained = {pair.fact for pair in found if parts[pair.id] == "train"}
    assert 8 < len(probed) <= datasets.PROBE_LIMIT
    assert len(probed) == len(set(probed))
    assert set(probed) <= trained


def test_probes_are_few_however_many_facts_there_are() -> None:
    found = stored(
        [Draft(f"q{f}-{n}", f"a{f}", fact=f"f{f}") for f in range(600) for n in range(4)]
    )
    parts = list(datasets.split(found, 0.1).values())
    assert parts.count("probe") == datasets.PROBE_LIMIT


def test_facts_with_few_phrasings_are_not_probed() -> None:
    found = stored([Draft(f"q{f}-{n}", f"a{f}", fact=f"f{f}") for f in range(80) for n in range(3)])
    assert "probe" not in datasets.split(found, 0.0).values()


def test_a_small_domain_trains_on_all_it_has() -> None:
    for facts in range(1, datasets.VALIDATION_FACTS):
        found = stored([Draft(f"q{n}", f"a{n}") for n in range(facts)])
        assert set(datasets.split(found, 0.5).values()) == {"train"}


def test_thirty_plain_pairs_are_all_learned() -> None:
    """A first domain: whoever writes thirty pairs expects thirty answers, not twenty-seven."""
    found = stored([Draft(f"q{n}", f"a{n}") for n in range(30)])
    assert set(datasets.split(found, 0.1).values()) == {"train"}
    assert datasets.VALIDATION_FACTS == 50


def test_the_validation_share_is_about_the_requested_one() -> None:
    found = stored([Draft(f"q{f}", f"a{f}", fact=f"f{f}") for f in range(1000)])
    kept_out = list(datasets.split(found, 0.2).values()).count("validation")
    assert 150 < kept_out < 250


def number(salt: str, fact: str) -> float:
    """Where SHA-256 puts a fact between 0 and 1. Datasets that exist depend on it."""
    return int(hashlib.sha256(f"{salt}:{fact}".encode()).hexdigest()[:16], 16) / 2**64


def test_a_fact_keeps_its_part_in_every_version() -> None:
    found = stored(
        [Draft(f"q{f}-{n}", f"a{f}", fact=f"f{f}") for f in range(600) for n in range(4)]
    )
    facts = {pair.fact for pair in found}
    validated = {fact for fact in facts if number("validation", fact) < 0.1}
    spare = {fact for fact in facts - validated if number("p", fact) < 0.25}
    probed = sorted(spare, key=lambda fact: number("probe", fact))[:64]

    parts = datasets.split(found, 0.1)

    assert {p.fact for p in found if parts[p.id] == "validation"} == validated
    assert len(spare) > 64
    assert {p.fact for p in found if parts[p.id] == "probe"} == set(probed)


def test_any_text_is_hashed_to_a_number_between_0_and_1() -> None:
    lone_surrogate = hashlib.sha256(b"probe:\xed\xa0\x80").hexdigest()
    assert datasets.hash_share("\ud800", "probe") == int(lone_surrogate[:16], 16) / 2**64


def test_a_fact_that_is_marked_for_training_is_not_held_out() -> None:
    found = stored([Draft(f"q{f}", f"a{f}", fact=f"f{f}") for f in range(60)])
    found += stored([Draft("q60", "a60", fact="f60", split="train")], start=61)
    parts = datasets.split(found, 1.0)
    assert parts == {pair.id: "train" if pair.id == 61 else "validation" for pair in found}


@pytest.mark.integration
def test_of_very_many_facts_about_a_thousand_are_held_out() -> None:
    found = stored([Draft(f"q{f}", f"a{f}", fact=f"f{f}") for f in range(8000)])
    parts = datasets.split(found, 0.9)
    held_out = {p.fact for p in found if parts[p.id] == "validation"}
    assert held_out == {p.fact for p in found if number("validation", p.fact) < 1000 / 8000}


@pytest.mark.parametrize(("facts", "part"), [(49, "train"), (50, "validation")])
def test_fifty_facts_are_enough_to_hold_some_out(facts: int, part: Part) -> None:
    found = stored([Draft(f"q{f}", f"a{f}", fact=f"f{f}") for f in range(facts)])
    assert set(datasets.split(found, 1.0).values()) == {part}


def test_a_pair_that_asks_a_golden_question_is_golden() -> None:
    found = stored([Draft("Q 1", "a", split="golden"), Draft("q 1", "b", split="train")])
    assert datasets.split(found, 0.0) == {1: "golden", 2: "golden"}


def test_a_golden_question_does_not_join_facts() -> None:
    found = stored(
        [
            Draft("q1", "f", fact="f", split="golden"),
            Draft("q1", "g", fact="g"),
            Draft("q2", "f", fact="f", split="validation"),
            Draft("q3", "g", fact="g"),
        ]
    )
    parts = datasets.split(found, 0.0)
    assert parts == {1: "golden", 2: "golden", 3: "validation", 4: "train"}


def test_without_holding_out_all_but_golden_pairs_are_trained_on() -> None:
    found = stored(
        [Draft("g", "x", split="golden")]
        + [Draft(f"q{f}-{n}", f"a{f}", fact=f"f{f}") for f in range(80) for n in range(4)]
    )
    parts = datasets.split(found, 0.5, hold_out=False)
    assert parts == {pair.id: "golden" if pair.id == 1 else "train" for pair in found}


# Frozen


def test_a_dataset_counts_its_parts_and_gives_them_back(store: Store, domain: Domain) -> None:
    with store.write() as db:
        made.approved(
            db,
            domain,
            *[Draft(f"q{n}", f"a{n}") for n in range(40)],
            Draft("g", "x", split="golden"),
        )
        frozen = datasets.freeze(db, domain)
    found: dict[Part, list[Pair]] = {
        part: datasets.pairs_of(store.db, frozen.id, part)
        for part in ("train", "validation", "probe", "golden")
    }
    assert {part: len(members) for part, members in found.items()} == {
        "train": frozen.train,
        "validation": frozen.validation,
        "probe": frozen.probe,
        "golden": frozen.golden,
    }
    assert sum(map(len, found.values())) == 41
    assert [pair.prompt for pair in found["golden"]] == ["g"]


def test_equal_content_is_one_dataset(store: Store, domain: Domain) -> None:
    with store.write() as db:
        made.approved(db, domain, Draft("a", "b"), Draft("c", "d"))
        first = datasets.freeze(db, domain)
        assert datasets.freeze(db, domain) == first
        made.approved(db, domain, Draft("e", "f"))
        second = datasets.freeze(db, domain)
    assert second.sha256 != first.sha256
    assert datasets.by_id(store.db, first.id) == first  # it has not changed


def test_the_digest_is_of_the_content_and_of_nothing_else(tmp_path_factory: object) -> None:
    digests = set()
    for order in (1, -1):
        assert isinstance(tmp_path_factory, pytest.TempPathFactory)
        with Store(tmp_path_factory.mktemp("digest") / "a.db") as store, store.write() as db:
            if order == -1:
                domains.create(db, "first")  # other ids
            domain = domains.create(db, "helpdesk", validation_share=0.2)
            words = [Draft(f"q{n}", f"a{n}") for n in range(30)][::order]
            made.approved(db, domain, *words)
            digests.add(datasets.freeze(db, domain).sha256)
    assert len(digests) == 1


def test_the_digest_is_the_same_in_every_version(store: Store, domain: Domain) -> None:
    with store.write() as db:
        domains.set_system_prompt(db, domain, "Be brief.")
        domain = domains.get(db, domain.name)
        made.approved(db, domain, Draft("a", "b", fact="f"), Draft("c", "d", split="golden"))
        frozen = datasets.freeze(db, domain)
        members = [*datasets.pairs_of(db, frozen.id, "train")]
        members += datasets.pairs_of(db, frozen.id, "golden")
    parts = ("train", "golden")
    lines = sorted(
        f"{p.fingerprint} {p.fact} {part}" for p, part in zip(members, parts, strict=True)
    )
    expected = hashlib.sha256("\n".join(["Be brief.", *lines]).encode())
    assert frozen.sha256 == expected.hexdigest()


def test_another_system_prompt_is_another_dataset(store: Store, domain: Domain) -> None:
    with store.write() as db:
        made.approved(db, domain, Draft("a", "b"))
        first = datasets.freeze(db, domain)
        domains.set_system_prompt(db, domain, "Be brief.")
        second = datasets.freeze(db, domains.get(db, domain.name))
    assert first.sha256 != second.sha256


def test_only_approved_pairs_are_frozen(store: Store, domain: Domain) -> None:
    with store.write() as db:
        pairs.add(db, domain, [Draft("p", "pending")], source="correction")
        (rejected,) = made.approved(db, domain, Draft("r", "rejected"))
        review_status.set_status(db, rejected, "rejected", "cli:ann")
        with pytest.raises(EmptyDataset, match="no approved pairs to train on"):
            datasets.freeze(db, domain)


def test_golden_pairs_alone_are_nothing_to_train_on(store: Store, domain: Domain) -> None:
    with store.write() as db:
        made.approved(db, domain, Draft("g", "x", split="golden"))
        with pytest.raises(EmptyDataset):
            datasets.freeze(db, domain)


def test_a_missing_dataset_is_not_found(store: Store) -> None:
    with pytest.raises(NotFound, match="no dataset 7"):
        datasets.by_id(store.db, 7)


def test_a_run_may_hold_nothing_out(store: Store, domain: Domain) -> None:
    with store.write() as db:
        made.approved(db, domain, *[Draft(f"q{n}", f"a{n}") for n in range(200)])
        usual, full = datasets.freeze(db, domain), datasets.freeze(db, domain, hold_out=False)
    assert usual.validation > 0
    assert (full.train, full.validation, full.probe) == (200, 0, 0)


def test_domains_with_equal_pairs_have_datasets_of_their_own(store: Store, domain: Domain) -> None:
    with store.write() as db:
        other = domains.create(db, "other", validation_share=0.2)
        for one in (domain, other):
            made.approved(db, one, Draft("a", "b"))
        first, second = datasets.freeze(db, domain), datasets.freeze(db, other)
        assert datasets.freeze(db, other) == second
    assert (first.domain_id, second.domain_id) == (domain.id, other.id)
    assert first.sha256 == second.sha256


def test_erased_pairs_are_counted_only_in_their_datasets(store: Store, domain: Domain) -> None:
    with store.write() as db:
        ids = made.approved(db, domain, *[Draft(f"q{n}", f"a{n}") for n in range(4)])
        first = datasets.freeze(db, domain)
        ids += made.approved(db, domain, Draft("q4", "a4"))
        second = datasets.freeze(db, domain)
        assert [datasets.count_erased(db, d.id) for d in (first, second)] == [0, 0]
        db.execute("UPDATE pairs SET forgotten_at = 1 WHERE id IN (?, ?)", [ids[1], ids[4]])
    assert [datasets.count_erased(store.db, d.id) for d in (first, second)] == [1, 2]
    left = [p.id for p in datasets.pairs_of(store.db, second.id, "train")]
    assert left == [ids[0], ids[2], ids[3]]
    assert [p.id for p in datasets.pairs_of(store.db, first.id, "train")] == left


def test_a_dataset_gives_back_its_own_pairs_only(store: Store, domain: Domain) -> None:
    with store.write() as db:
        made.approved(db, domain, Draft("a", "b"))
        first = datasets.freeze(db, domain)
        made.approved(db, domain, Draft("c", "d"))
        second = datasets.freeze(db, domain)
    prompts = [
        [p.prompt for p in datasets.pairs_of(store.db, d.id, "train")] for d in (first, second)
    ]
    assert prompts == [["a"], ["a", "c"]]


def test_freezing_in_short_transactions_gives_the_same_dataset(
    store: Store, domain: Domain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets, "TOGETHER", 7)
    with store.write() as db:
        drafts = [Draft(f"Question {n}?", f"Answer {n}.") for n in range(120)]
        pairs.add(db, domain, drafts, source="import", status="approved")
    made = datasets.freeze_in(store, domain)
    with store.write() as db:
        assert datasets.freeze(db, domain) == made
    assert datasets.freeze_in(store, domain) == made
    parts = {part: len(datasets.pairs_of(store.db, made.id, part)) for part in PARTS}
    assert parts == {part: getattr(made, part) for part in PARTS}
    assert sum(parts.values()) == 120


def test_others_write_while_a_dataset_is_frozen(
    store: Store, domain: Domain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets, "TOGETHER", 5)
    with store.write() as db:
        drafts = [Draft(f"Question {n}?", f"Answer {n}.") for n in range(30)]
        pairs.add(db, domain, drafts, source="import", status="approved")
    put, writes = datasets._put, []

    def between(db: Database, dataset_id: int, some: list[Any]) -> int:
        writes.append(len(some))
        return put(db, dataset_id, some)

    monkeypatch.setattr(datasets, "_put", between)
    datasets.freeze_in(store, domain)
    assert writes == [5] * 6  # one transaction each


def test_a_pair_that_is_erased_meanwhile_is_not_in_the_dataset(
    store: Store, domain: Domain, monkeypatch: pytest.MonkeyPatch
) -> None:
    with store.write() as db:
        drafts = [Draft(f"Question {n}?", f"Answer {n}.") for n in range(10)]
        first = pairs.add(db, domain, drafts, source="import", status="approved").ids[0]
    put = datasets._put

    def erased(db: Database, dataset_id: int, some: list[Any]) -> int:
        db.execute("DELETE FROM pairs WHERE id = ?", [first])
        return put(db, dataset_id, some)

    monkeypatch.setattr(datasets, "_put", erased)
    made = datasets.freeze_in(store, domain)
    assert made.train == 9
    assert len(datasets.pairs_of(store.db, made.id, "train")) == 9
    assert value(store.db, "SELECT count(*) FROM datasets") == 1


def test_an_interrupted_dataset_is_removed_later(
    store: Store, domain: Domain, monkeypatch: pytest.MonkeyPatch
) -> None:
    with store.write() as db:
        pairs.add(db, domain, [Draft("Why?", "So.")], source="import", status="approved")
    put = datasets._put

    def dies(db: Database, dataset_id: int, some: list[Any]) -> int:
        put(db, dataset_id, some[:1])
        db.conn.execute("COMMIT")
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(datasets, "_put", dies)
        with pytest.raises(KeyboardInterrupt):
            datasets.freeze_in(store, domain)
    assert value(store.db, "SELECT count(*) FROM dataset_pairs") == 1
    monkeypatch.setattr(datasets, "UNFINISHED_S", -1)
    made = datasets.freeze_in(store, domain)
    assert value(store.db, "SELECT count(*) FROM datasets") == 1
    assert len(datasets.pairs_of(store.db, made.id, "train")) == 1
