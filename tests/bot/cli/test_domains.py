"""`understudy domains`: suggested first questions."""

from data import domains
from data.search import confidence, domain_calibration
from data.search.domain_calibration import DomainCalibration
from data.search.encoder import SHIPPED
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


def test_a_domain_declines_in_its_own_words(run: Run) -> None:
    run("domains", "add", "travel", "--title", "travel")
    usual = "I don't have an approved answer to that. I answer questions about travel.\n"

    assert run("domains", "refusal", "travel").output == usual
    assert run("domains", "refusal", "travel", "Ask the front desk.").output == (
        "Ask the front desk.\n"
    )
    assert run("domains", "refusal", "travel").output == "Ask the front desk.\n"
    assert run("domains", "refusal", "travel", "--default").output == usual
    assert run("domains", "refusal", "travel", "No.", "--default").exit_code == 2
    assert run("domains", "refusal", "travel", "x" * 501).exit_code == 2


def test_a_domain_overrides_where_answers_come_from(run: Run) -> None:
    run("domains", "add", "travel")

    assert run("domains", "answers", "travel").output == (
        "mode: grounded\ndecline below: the default of the search\n"
    )
    given = run("domains", "answers", "travel", "--mode", "adapter", "--decline-below", "0.5")
    assert given.output == "mode: adapter\ndecline below: 0.5\n"
    given = run("domains", "answers", "travel", "--mode", "default", "--default-threshold")
    assert given.output == "mode: grounded\ndecline below: the default of the search\n"
    both = run("domains", "answers", "travel", "--decline-below", "0.5", "--default-threshold")
    assert both.exit_code == 2


def test_a_threshold_of_another_encoder_is_not_used_and_that_is_said(
    run: Run, store: Store
) -> None:
    run("domains", "add", "travel")
    shipped = confidence.read(SHIPPED)
    assert shipped is not None

    def said(encoder: str, command: str) -> str:
        with store.write() as db:
            own = DomainCalibration(encoder, 0.7, 0.6, 0.8, 123)
            domain_calibration.save(db, domains.get(db, "travel"), own)
        return " ".join(run(*command.split()).output.split())

    for command in ("domains answers travel", "doctor"):
        told = said("older", command)
        assert "measured with another encoder, so the shipped one is used" in told
        assert "understudy domains calibrate travel" in told
        assert "another encoder" not in said(shipped.encoder, command)


def test_a_domain_names_the_people_who_answer_for_it(run: Run) -> None:
    run("domains", "add", "travel")

    assert run("domains", "people", "travel", "T1/C1").output == "T1/C1\n"
    assert run("domains", "people", "travel", "slack:T1/U1").output == "slack:T1/U1\n"
    assert run("domains", "people", "travel", "ann").exit_code == 2
    assert run("domains", "people", "travel", "--none").output == (
        "travel passes questions on to nobody.\n"
    )
