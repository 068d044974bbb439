"""`understudy unanswered`."""

import json

from data import domains
from data.feedback import unanswered
from data.pairs import pairs
from data.pairs.pairs import Draft
from data.store.db import Store
from tests.bot.cli.conftest import Run
from tests.data import given


def test_a_question_is_listed_answered_and_gone(run: Run, store: Store) -> None:
    run("domains", "add", "art")
    with store.write() as db:
        art = domains.get(db, "art")
        drafts = [Draft("When do you open?", "At nine.")]
        pairs.add(db, art, drafts, source="import", status="approved")
        for question in ("When do you open on Sundays?", "Who painted it?", "Is it free?"):
            reply_id = given.reply(db, art, "slack:T1/U1", question)
            unanswered.add(db, reply_id, art)
    listed = {g["question"]: g for g in json.loads(run("unanswered", "list", "--json").output)}

    assert listed["When do you open on Sundays?"]["draft"] == "At nine."
    assert "Who painted it?" in run("unanswered", "list", "art").output
    ids = {question: g["id"] for question, g in listed.items()}
    sundays = ids["When do you open on Sundays?"]
    said = run("unanswered", "answer", "art", sundays, "--draft").output
    assert said == "Pair 2 answers “When do you open on Sundays?” from the next question on.\n"
    assert pairs.get(store.db, 2).response == "At nine."
    said = run("unanswered", "answer", "art", ids["Who painted it?"], "Leonardo.").output
    assert said == "Pair 3 answers “Who painted it?” from the next question on.\n"
    assert run("unanswered", "dismiss", "art", ids["Is it free?"]).output == (
        "Dismissed 1 question.\n"
    )
    assert run("unanswered", "list", "art").output == "art has no unanswered questions.\n"
    assert run("unanswered", "answer", "art", sundays, "No.").exit_code == 1
    assert run("unanswered", "answer", "art", sundays).exit_code == 2
