"""`understudy domains`: suggested first questions."""

from data import domains
from data.store.db import Store
from tests.bot.cli.conftest import Run


def suggested(store: Store) -> tuple[str, ...]:
    return domains.get(store.db, "travel").suggested_prompts


def test_suggested_questions_can_be_set_when_the_domain_is_added(run: Run, store: Store) -> None:
    run("domains", "add", "travel", "--suggest", "May I fly?", "--suggest", "Who books?")

    assert suggested(store) == ("May I fly?", "Who books?")


def test_suggested_questions_are_replaced_shown_and_removed(run: Run, store: Store) -> None:
    run("domains", "add", "travel", "--suggest", "May I fly?")

    assert run("domains", "suggest", "travel", " Who books? ").output == "Who books?\n"
    assert run("domains", "suggest", "travel").output == "Who books?\n"
    assert suggested(store) == ("Who books?",)
    assert run("domains", "suggest", "travel", "--none").output == (
        "travel has no suggested questions.\n"
    )
    assert suggested(store) == ()


def test_an_empty_suggestion_is_refused(run: Run, store: Store) -> None:
    run("domains", "add", "travel", "--suggest", "May I fly?")

    result = run("domains", "suggest", "travel", "  ")

    assert (result.exit_code, "must not be empty" in result.output) == (2, True)
    assert suggested(store) == ("May I fly?",)


def test_an_empty_suggestion_is_refused_when_the_domain_is_added(run: Run) -> None:
    result = run("domains", "add", "travel", "--suggest", "May I fly?", "--suggest", " ")

    assert (result.exit_code, "must not be empty" in result.output) == (2, True)
    assert "travel" not in run("domains", "list").output


def test_questions_together_with_none_are_refused(run: Run, store: Store) -> None:
    run("domains", "add", "travel", "--suggest", "May I fly?")

    result = run("domains", "suggest", "travel", "Who books?", "--none")

    assert (result.exit_code, "either questions or --none" in result.output) == (2, True)
    assert suggested(store) == ("May I fly?",)
