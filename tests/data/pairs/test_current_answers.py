"""A newer answer replaces older ones: of its question, and of the other phrasings of its fact."""

import random
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from sqlite_utils import Database

from data import domains
from data.domains import Domain
from data.pair_files import importer
from data.pairs import current_answers, golden, pairs, review_status
from data.pairs.current_answers import CurrentPairs, current_pairs, replacements
from data.pairs.pairs import Draft, Pair, Turn
from data.store.db import Store, rows
from tests.data import given

IMPORT = 1


def pair(prompt: str, response: str, id: int, fact: str = "", **more: object) -> Pair:
    """A pair that is in no store."""
    draft = Draft(prompt, response)
    known = Pair(
        id=id, domain_id=1, prompt=prompt, response=response, system="", turns=(),
        fact=fact or pairs.fact_of(response), split="auto", source="test", source_ref="",
        author="", status="approved", fingerprint=pairs.fingerprint(draft), created_at=0,
    )  # fmt: skip
    return replace(known, **more)  # type: ignore[arg-type]


def answers(*given: Pair) -> dict[int, str]:
    return {p.id: p.response for p in current_pairs(given).pairs}


PLACES = tuple(
    pair(f"Where {word}?", "Upstairs.", n, "place", import_id=IMPORT)
    for n, word in enumerate("abc", start=1)
)


def test_the_newest_answer_of_a_question_counts() -> None:
    old, other = pair("Where is it?", "Upstairs.", 1), pair("Who has it?", "Ann.", 2)
    new = pair("where is  it?", "Downstairs.", 3)

    today = current_pairs([new, old, other])

    assert today.pairs == [other, new]
    assert today.superseded == [old]
    assert today.replaced_by == {1: new}


def test_a_newer_answer_of_the_fact_reaches_its_other_phrasings() -> None:
    """The correction asks what one phrasing asks, and names the same fact."""
    today = current_pairs([*PLACES, pair("Where b?", "Downstairs.", 9, "place")])

    assert {p.id: p.response for p in today.pairs} == dict.fromkeys((1, 3, 9), "Downstairs.")
    assert today.reworded == [1, 3]
    assert [p.id for p in today.superseded] == [2]


def test_so_does_one_that_asks_in_words_of_its_own() -> None:
    assert answers(*PLACES, pair("Which floor?", "Downstairs.", 9, "place")) == dict.fromkeys(
        (1, 2, 3, 9), "Downstairs."
    )


def test_so_does_one_that_names_no_fact_but_asks_the_same() -> None:
    assert answers(*PLACES, pair("Where b?", "Downstairs.", 9)) == dict.fromkeys(
        (1, 3, 9), "Downstairs."
    )


def test_the_newest_of_several_newer_answers_counts() -> None:
    first = pair("Where b?", "Downstairs.", 8, "place")
    second = pair("Where c?", "In the yard.", 9, "place")

    assert answers(*PLACES, first, second) == dict.fromkeys((1, 8, 9), "In the yard.")


def test_questions_that_merely_share_an_answer_are_not_one_fact() -> None:
    """Pairs imported without a fact are grouped by their answer, and "Yes." answers much."""
    one, two = pair("May I park here?", "Yes.", 1), pair("May I smoke here?", "Yes.", 2)
    for fact in ("", one.fact):
        correction = pair("May I park here?", "Only on Sundays.", 3, fact)
        assert answers(one, two, correction) == {2: "Yes.", 3: "Only on Sundays."}


def test_answers_that_came_together_are_all_valid() -> None:
    hours = [
        pair("When?", "From 9 to 18.", 1, "hours", import_id=IMPORT),
        pair("Until when?", "From 9 to 18.", 2, "hours", import_id=IMPORT),
        pair("And on Sundays?", "Closed.", 3, "hours", import_id=IMPORT),
    ]
    assert answers(*hours) == {1: "From 9 to 18.", 2: "From 9 to 18.", 3: "Closed."}

    correction = pair("When?", "From 9 to 17.", 9, "hours")

    assert answers(*hours, correction) == {2: "From 9 to 17.", 3: "Closed.", 9: "From 9 to 17."}


def test_equal_questions_in_different_conversations_are_different_questions() -> None:
    to_inn = (Turn("user", "To the inn"), Turn("assistant", "Go"))
    to_sea = (Turn("user", "To the sea"), Turn("assistant", "Go"))
    one, two = pair("And then?", "Left.", 1, turns=to_inn), pair("And then?", "Right.", 2)

    assert current_pairs([one, replace(two, turns=to_sea)]).superseded == []


def test_a_golden_question_gets_the_newer_answer_and_gives_none() -> None:
    asked = pair("On which floor?", "Upstairs.", 4, "place", split="golden")
    correction = pair("Where b?", "Downstairs.", 9, "place")
    later = pair("How high up?", "In the roof.", 10, "place", split="golden")

    today = answers(*PLACES, asked, correction, later)

    assert today[4] == "Downstairs."
    assert today[1] == "Downstairs."
    assert today[10] == "In the roof."


def test_only_answers_that_the_parent_did_not_learn_count_as_new() -> None:
    today = current_pairs([*PLACES, pair("Where b?", "Downstairs.", 9, "place")])

    assert today.reworded_since({1, 2, 3}) == {1, 3}
    assert today.reworded_since({1, 2, 3, 9}) == set()


def test_the_store_names_the_newer_pair(store: Store, domain: Domain) -> None:
    with store.write() as db:
        first, second, parking = given.approved(
            db, domain,
            Draft("When may I fly?", "From six hours.", fact="flights"),
            Draft("Is a plane allowed?", "From six hours.", fact="flights"),
            Draft("May I park here?", "Yes."),
        )  # fmt: skip
        golden.add(db, domain, "Can I go by air?", "From six hours.", "cli:ann", fact="flights")
        assert replacements(db, domain, [first, second, parking]) == {}
        draft = Draft("when may I FLY?", "From eight hours.", fact="flights")
        (new,) = pairs.add(db, domain, [draft], source="correction").ids
        assert replacements(db, domain, [first, second, parking]) == {}  # nobody approved it

        review_status.set_status(db, new, "approved", "cli:ann")

        found = replacements(db, domain, [first, second, parking, new])
        assert {old: by.id for old, by in found.items()} == {first: new, second: new}
        review_status.set_status(db, new, "rejected", "cli:ann")
        assert replacements(db, domain, [first, second]) == {}


def test_pairs_of_one_import_came_together(store: Store, domain: Domain, tmp_path: Path) -> None:
    path = tmp_path / "hours.csv"
    path.write_text("prompt,response,fact\nWhen?,From 9.,hours\nOn Sundays?,Never.,hours\n")
    importer.import_file(store, domain, path)
    path.write_text("prompt,response,fact\nHow early?,From 8.,hours\n")
    importer.import_file(store, domain, path)

    known = pairs.list_pairs(store.db, domain)

    assert [p.import_id for p in known] == [1, 1, 2]
    assert current_answers.current_pairs(known).replaced_by == {}


def test_a_pair_without_a_fact_states_that_of_the_pair_that_asks_the_same(
    store: Store, domain: Domain
) -> None:
    with store.write() as db:
        given.approved(db, domain, Draft("When may I fly?", "From six hours.", fact="flights"))
        given.approved(db, domain, Draft("Is a plane allowed?", "From six hours.", fact="flights"))
        (new,) = given.approved(db, domain, Draft("when  may I fly?", "From eight hours."))
        before = (Turn("user", "Hello"), Turn("assistant", "Hello."))
        (other,) = given.approved(db, domain, Draft("When may I fly?", "Later.", turns=before))

    known = {p.id: p for p in pairs.list_pairs(store.db, domain)}
    assert (known[new].fact, known[other].fact) == ("flights", pairs.fact_of("Later."))
    assert replacements(store.db, domain, [1, 2, new, other]) == {1: known[new], 2: known[new]}


def test_a_correction_that_names_another_fact_reaches_the_other_phrasings(
    store: Store, domain: Domain
) -> None:
    with store.write() as db:
        corrected, other = given.approved(
            db, domain,
            Draft("When may I fly?", "From six hours.", fact="flights"),
            Draft("Is a plane allowed?", "From six hours.", fact="flights"),
        )  # fmt: skip
        (new,) = given.approved(db, domain, Draft("When may I fly?", "From ten.", fact="rules"))

    assert {i: p.id for i, p in replacements(store.db, domain, [other]).items()} == {other: new}
    assert set(replacements(store.db, domain, [corrected, other])) == {corrected, other}


def test_a_name_that_hundreds_of_pairs_share_replaces_nothing(store: Store, domain: Domain) -> None:
    """The search asks about a few of them only."""
    shared = [
        Draft(f"Question {n}?", f"Answer {n}.", fact="topic")
        for n in range(current_answers.MOST_PHRASINGS + 1)
    ]
    with store.write() as db:
        ids = given.approved(db, domain, *shared)

    assert replacements(store.db, domain, ids[:4]) == {}
    with store.write() as db:
        (new,) = given.approved(db, domain, Draft("Question 1?", "Another.", fact="topic"))
    assert set(replacements(store.db, domain, ids[:4])) == {ids[1]}
    assert replacements(store.db, domain, ids[:4])[ids[1]].id == new


def test_a_few_pairs_get_the_answers_that_all_pairs_together_give(store: Store) -> None:
    for seed in range(25):
        chance = random.Random(seed)
        with store.write() as db:
            domain = domains.create(db, f"d{seed}")
            for _ in range(20):
                _add_any(db, domain, chance)
        approved = pairs.list_pairs(store.db, domain, "approved")
        every = [p for p in approved if p.split != "golden"]
        wanted = current_pairs(every).replaced_by
        asked = [p.id for p in every if chance.random() < 0.4]
        found = replacements(store.db, domain, asked)
        assert found == {i: wanted[i] for i in asked if i in wanted}, seed


def _add_any(db: Database, domain: Domain, chance: random.Random) -> None:
    prompt, response = f"Question {chance.randint(0, 7)}?", chance.choice(["Yes.", "No.", "YES."])
    fact = chance.choice(["a", "b", ""])
    for added in pairs.add(
        db,
        domain,
        [Draft(prompt, response, fact=fact, split=chance.choice(["auto", "auto", "golden"]))],
        source="test",
        status=chance.choice(["approved", "approved", "rejected"]),
    ).ids:
        given_fact, came_with = fact or pairs.fact_of(response), chance.choice([None, 1, 2])
        sql = "UPDATE pairs SET fact = ?, import_id = ? WHERE id = ?"
        db.execute(sql, [given_fact, came_with, added])


def test_all_are_found_by_index(store: Store) -> None:
    asked = {"domain": 1, "ids": "[]", "facts": "[]"}
    for sql in (
        current_answers.TOPICS,
        current_answers.NEWEST,
        current_answers.SUPERSEDED,
        current_answers.DECIDING,
        current_answers.RELATED,
    ):
        steps = [how["detail"] for how in rows(store.db, f"EXPLAIN QUERY PLAN {sql}", asked)]
        reads = [step for step in steps if step.split()[1:2] in (["p"], ["old"], ["new"])]
        assert reads
        assert not [step for step in reads if not step.startswith("SEARCH")]
        assert all("fact=?" in s or "prompt_digest=?" in s or "rowid=?" in s for s in reads)


def test_of_a_fact_with_many_phrasings_only_those_that_decide_are_read(
    store: Store, domain: Domain, monkeypatch: pytest.MonkeyPatch
) -> None:
    with store.write() as db:
        phrasings = [Draft(f"Where {n}?", "Upstairs.", fact="place") for n in range(150)]
        ids = given.approved(db, domain, *phrasings)
        (new,) = given.approved(db, domain, Draft("Which floor?", "Downstairs.", fact="place"))
    read: list[int] = []

    def reading(some: Sequence[Pair], topics: Collection[str]) -> CurrentPairs:
        read.append(len(some))
        return current_pairs(some, topics)

    monkeypatch.setattr(current_answers, "current_pairs", reading)
    found = replacements(store.db, domain, ids[:8])

    assert {i: p.id for i, p in found.items()} == dict.fromkeys(ids[:8], new)
    assert read == [9]
