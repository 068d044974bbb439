"""Which answers have a better one, and that nothing unreviewed is ever preferred."""

from collections.abc import Iterator

import pytest
from sqlite_utils import Database

from data.domains import Domain
from data.feedback import feedback, raters
from data.pairs import imports, judged_answers, pairs, preference_pairs, review_status
from data.pairs.judged_answers import JudgedDraft
from data.pairs.preference_sets import MOST_EACH, TooFewRated
from data.privacy import provenance
from data.runs import runs
from data.store.db import Store
from tests.data import given

ANN, BOB, WEB = "slack:T1/U1", "slack:T1/U2", "web:somebody"


@pytest.fixture
def db(store: Store, domain: Domain) -> Iterator[Database]:
    with store.write() as db:
        yield db


def corrected(
    db: Database, domain: Domain, number: int = 0, person: str = ANN, status: str = "approved"
) -> str:
    """An answer with a correction; returns its reply."""
    reply = given.reply(db, domain, person, f"Question {number}?", f"Wrong {number}.")
    rating = feedback.correction(db, reply, person, f"Right {number}.")
    assert rating.pair_id is not None
    if status != "pending":
        review_status.set_status(db, rating.pair_id, status, "cli:ann")  # type: ignore[arg-type]
    return reply


def frozen(db: Database, domain: Domain) -> tuple[int, list[tuple[str, str]]]:
    """A run, and its rejected and chosen answers."""
    run = runs.queue(db, domain, "cli:ann", kind="full", recipe={"method": "dpo"})
    preference_pairs.freeze(db, run.id, domain)
    found = preference_pairs.of_run(db, run.id, 6)
    return run.id, [(one.rejected.answer, one.chosen) for one in found]


def test_an_approved_correction_is_preferred_to_the_answer(db: Database, domain: Domain) -> None:
    corrected(db, domain, 1)
    assert preference_pairs.count(db, domain) == 1
    run, learned = frozen(db, domain)
    assert learned == [("Wrong 1.", "Right 1.")]
    corrected(db, domain, 2)
    preference_pairs.freeze(db, run, domain)  # it goes on after a crash
    assert len(preference_pairs.of_run(db, run, 6)) == 1


@pytest.mark.parametrize("status", ["pending", "rejected"])
def test_an_unreviewed_correction_is_never_preferred(
    db: Database, domain: Domain, status: str
) -> None:
    corrected(db, domain, status=status)
    assert preference_pairs.count(db, domain) == 0


def test_only_verified_people_correct(db: Database, domain: Domain) -> None:
    for number in range(30):
        corrected(db, domain, number, person=f"{WEB}{number}")
    assert preference_pairs.count(db, domain) == 0


def test_one_person_corrects_no_more_than_their_part(db: Database, domain: Domain) -> None:
    for number in range(MOST_EACH + 5):
        corrected(db, domain, number, person=BOB)
    assert preference_pairs.count(db, domain) == MOST_EACH


def test_the_corrections_of_a_quarantined_person_do_not_count(db: Database, domain: Domain) -> None:
    feedback.thumb(db, corrected(db, domain, 1, person=BOB), BOB, up=False)
    assert preference_pairs.count(db, domain) == 1
    raters.quarantine(db, domain, BOB, "votes at random", "cli:ann")
    corrected(db, domain, 2, person=BOB)
    assert preference_pairs.count(db, domain) == 0


def test_of_two_corrections_the_newer_answer_is_preferred(db: Database, domain: Domain) -> None:
    reply = corrected(db, domain, 1)
    again = feedback.correction(db, reply, BOB, "Really right.")
    review_status.set_status(db, again.pair_id or 0, "approved", "cli:ann")
    assert frozen(db, domain)[1] == [("Wrong 1.", "Really right.")]


def test_a_correction_that_says_the_same_teaches_nothing(db: Database, domain: Domain) -> None:
    reply = given.reply(db, domain, ANN, "How?", "So it  is.")
    rating = feedback.correction(db, reply, ANN, "so it is.")
    review_status.set_status(db, rating.pair_id or 0, "approved", "cli:ann")
    assert preference_pairs.count(db, domain) == 0


def test_an_answer_rated_down_is_rejected_where_a_pair_answers_its_question(
    db: Database, domain: Domain
) -> None:
    (known,) = given.approved(db, domain, pairs.Draft("How?", "Like this."))
    given.approved(db, domain, pairs.Draft("When?", "Now.", split="golden"))
    for question, up in (("how? ", False), ("How?", True), ("Who?", False), ("When?", False)):
        reply = given.reply(db, domain, ANN, question, f"So says {question}")
        feedback.thumb(db, reply, ANN, up=up)
    assert frozen(db, domain)[1] == [("So says how? ", "Like this.")]
    review_status.set_status(db, known, "rejected", "cli:ann")
    assert preference_pairs.of_run(db, 1, 6) == []


def test_answers_of_a_file_are_paired_with_each_other_or_with_a_pair(
    db: Database, domain: Domain
) -> None:
    given.approved(db, domain, pairs.Draft("How?", "Like this."))
    for number, (prompt, response, liked) in enumerate(
        [("How?", "No idea.", False), ("Why?", "Because.", True), ("why?", "Dunno.", False),
         ("Who?", "Nobody.", False), ("Where?", "Here.", True)]
    ):  # fmt: skip
        draft = JudgedDraft(prompt, response, liked)
        judged_answers.add(db, domain, draft, source_ref=f"a:{number}", author=ANN, import_id=1)
    run, learned = frozen(db, domain)
    assert learned == [("No idea.", "Like this."), ("Dunno.", "Because.")]
    assert provenance.preference_runs_of(db, ANN) == [run]


def test_too_few_are_refused_with_the_number(db: Database, domain: Domain) -> None:
    given.adapter(db, domain, "live")
    for number in range(3):
        corrected(db, domain, number)
    with pytest.raises(TooFewRated, match="has 3 answers with a better one"):
        runs.request(db, domain, "cli:ann", recipe={"method": "dpo"})
    with pytest.raises(TooFewRated, match="DPO needs at least 4"):
        runs.request(db, domain, "cli:ann", recipe={"method": "sft+dpo"})
    corrected(db, domain, 3)
    assert runs.request(db, domain, "cli:ann", recipe={"method": "dpo"}).learns == "preferences"


def test_the_run_is_known_to_have_learned_the_preferred_words(db: Database, domain: Domain) -> None:
    (known,) = pairs.add(
        db, domain, [pairs.Draft("How?", "Like this.")], source="teach", status="approved",
        author=BOB,
    ).ids  # fmt: skip
    reply = given.reply(db, domain, ANN, "How?", "No idea.")
    feedback.thumb(db, reply, ANN, up=False)
    run, _ = frozen(db, domain)
    assert provenance.preference_runs_of(db, BOB) == [run]
    assert provenance.open_runs_on(db, [known]) == [run]
    adapter = given.adapter(db, domain, "live")
    db.execute("UPDATE adapters SET run_id = ? WHERE id = ?", [run, adapter.id])
    assert provenance.trained_on(db, [known]) == {adapter.id}
    db.execute("UPDATE pairs SET forgotten_at = 1 WHERE id = ?", [known])
    assert provenance.adapters_to_retrain(db) == [adapter.name]
    assert preference_pairs.of_run(db, run, 6) == []


def test_a_preferred_pair_outlives_the_undoing_of_its_import(db: Database, domain: Domain) -> None:
    made = imports.begin(db, domain, "a", "a.jsonl", "cli:ann")
    known = pairs.add(
        db, domain, [pairs.Draft("How?", "Like this.")], source="import", status="approved",
        import_id=made,
    ).ids[0]  # fmt: skip
    reply = given.reply(db, domain, ANN, "How?", "No idea.")
    feedback.thumb(db, reply, ANN, up=False)
    frozen(db, domain)
    while imports.undo_step(db, made):
        pass
    assert pairs.get(db, known).status == "rejected"
