"""`understudy adapters` and `understudy ab`: the live mark and the comparison."""

from data.db import Store
from tests.bot.cli.conftest import Run, json, make_adapter


def live(run: Run) -> list[str]:
    found = json(run("adapters", "list", "--json"))
    assert isinstance(found, list)
    return [f"{a['domain']}@{a['version']}" for a in found if a["state"] == "live"]


def test_promote_and_roll_back_move_the_live_mark(run: Run, store: Store) -> None:
    run("domains", "add", "art")
    for version in (1, 2):
        make_adapter(store, "art", version)

    seen = []
    for command in (("promote", "art@1"), ("promote", "art@2"), ("rollback", "art")):
        result = run("adapters", *command)
        assert result.exit_code == 0, result.output
        seen.append(live(run))

    assert seen == [["art@1"], ["art@2"], ["art@1"]]


def test_the_first_promotion_can_be_undone_too(run: Run, store: Store) -> None:
    run("domains", "add", "art")
    make_adapter(store, "art", 1)
    run("adapters", "promote", "art@1")

    result = run("adapters", "rollback", "art")

    assert "The bare base answers again" in result.output
    assert live(run) == []


def test_nothing_to_roll_back_is_said(run: Run) -> None:
    run("domains", "add", "art")

    result = run("adapters", "rollback", "art")

    assert result.exit_code == 1
    assert "Nothing was promoted in art" in result.output


def test_promoting_ends_the_comparison(run: Run, store: Store) -> None:
    run("domains", "add", "art")
    for version in (1, 2):
        make_adapter(store, "art", version)
    run("ab", "start", "art", "1", "2")

    run("adapters", "promote", "art@2")

    status = json(run("ab", "status", "art", "--json"))
    assert status["experiment"]["state"] == "stopped"  # type: ignore[index]


def test_a_second_comparison_is_refused(run: Run, store: Store) -> None:
    run("domains", "add", "art")
    for version in (1, 2):
        make_adapter(store, "art", version)
    run("ab", "start", "art", "base", "1")

    result = run("ab", "start", "art", "1", "2")

    assert result.exit_code == 1
    assert "is comparing base and art@1 already" in result.output


def test_every_deed_is_in_the_audit_log(run: Run, store: Store) -> None:
    run("domains", "add", "art")
    make_adapter(store, "art", 1)
    run("adapters", "promote", "art@1")
    run("adapters", "rollback", "art")

    entries = json(run("audit", "--json"))

    assert isinstance(entries, list)
    assert [e["action"] for e in entries] == ["rollback", "promote", "domain add"]
