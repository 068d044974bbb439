"""A newer answer replaces older ones: of its question, and of the other phrasings of its fact."""

from dataclasses import replace
from pathlib import Path

from data.domains import Domain
from data.pair_files import importer
from data.pairs import current_answers, golden, pairs, review_status
from data.pairs.current_answers import current_pairs, replacements
from data.pairs.pairs import Draft, Pair, Turn
from data.store.db import Store
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
