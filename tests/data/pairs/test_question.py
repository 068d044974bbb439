"""The question of a pair, and when two pairs ask the same."""

from data import domains
from data.domains import Domain
from data.pairs import current_answers, datasets, pairs
from data.pairs.pairs import Draft, Pair, Turn
from data.pairs.question import (
    fact_of_prompt,
    question_key,
    question_key_with_system,
    question_text,
)
from data.pairs.question_matching import Index
from data.store.db import Store
from tests.data import given

BEFORE = (Turn("user", "Where is box 4?"), Turn("assistant", "In the hall."))


def test_a_question_consists_of_the_earlier_turns_and_the_prompt() -> None:
    draft = Draft("And box 5?", "In the cellar.", system="Be brief.", turns=BEFORE)
    assert question_text(draft) == "Where is box 4?\nIn the hall.\nAnd box 5?"


def test_case_spacing_and_unicode_form_do_not_change_a_question() -> None:
    assert question_key(Draft("Wo ist  die STRASSE?", "")) == question_key(
        Draft("wo ist die straße?", "")
    )
    assert question_key(Draft("ﬁle?", "")) == question_key(Draft("File?", ""))
    assert question_key(Draft("And box 5?", "", turns=BEFORE)) != question_key(
        Draft("And box 5?", "")
    )


def test_the_system_prompt_matters_where_both_are_trained() -> None:
    one, other = Draft("How?", "", system="Be brief."), Draft("How?", "", system="Be kind.")
    assert question_key(one) == question_key(other)
    assert question_key_with_system(one) != question_key_with_system(other)


def test_the_fact_of_a_prompt_is_that_of_the_newest_approved_pair(
    store: Store, domain: Domain
) -> None:
    with store.write() as db:
        given.approved(db, domain, Draft("Wo ist die Straße?", "Hier.", fact="old"))
        given.approved(db, domain, Draft("WO IST DIE  STRASSE?", "Dort.", fact="new"))
        pairs.add(db, domain, [Draft("Wo ist die Straße?", "?", fact="no")], source="teach")
        other = domains.create(db, "hr")
    assert fact_of_prompt(store.db, domain, " wo ist die straße? ") == "new"
    assert fact_of_prompt(store.db, domain, "Wo ist der Weg?") == ""
    assert fact_of_prompt(store.db, other, "Wo ist die Straße?") == ""


def test_everything_that_compares_questions_agrees(store: Store, domain: Domain) -> None:
    """Contamination, dataset splits, replay and the fact of a correction."""
    one, same = "Wo ist die Straße?", "WO IST  DIE STRASSE?"
    with store.write() as db:
        given.approved(db, domain, Draft(one, "Hier.", fact="a", split="golden"))
        given.approved(db, domain, Draft(same, "Dort.", fact="b"))
    found: list[Pair] = pairs.list_pairs(store.db, domain)
    index: Index[int] = Index()
    index.add(1, question_text(found[0]))
    match = index.find(question_text(found[1]))
    assert match is not None
    assert match.kind == "exact"
    assert set(datasets.split(found, 0.5).values()) == {"golden"}
    assert [p.response for p in current_answers.current_pairs(found).superseded] == ["Hier."]
    assert fact_of_prompt(store.db, domain, one) == "b"
