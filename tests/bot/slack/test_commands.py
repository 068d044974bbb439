"""The grammar of `/understudy`, as a table."""

import pytest

from bot.slack import commands
from bot.slack.commands import (
    AskPrivately,
    CancelRun,
    Help,
    ListRuns,
    NotUnderstood,
    Promote,
    Retrain,
    RollBack,
    ShowComparison,
    StartComparison,
    Status,
    StopComparison,
    parse,
)

UNDERSTOOD = {
    "": Help(),
    "  help  ": Help(),
    "help me please": Help(),
    "STATUS": Status(),
    "ask  what is  LoRA? ": AskPrivately("what is  LoRA?"),
    "retrain": Retrain(),
    "retrain HelpDesk": Retrain("helpdesk"),
    "retrain --full": Retrain(full=True),
    "retrain helpdesk --full": Retrain("helpdesk", full=True),
    "retrain —full": Retrain(full=True),
    "retrain –full helpdesk": Retrain("helpdesk", full=True),
    "runs": ListRuns(),
    "runs helpdesk": ListRuns("helpdesk"),
    "cancel 7": CancelRun(7),
    "cancel #7": CancelRun(7),
    "ab": ShowComparison(),
    "ab status": ShowComparison(),
    "ab status helpdesk": ShowComparison("helpdesk"),
    "ab stop": StopComparison(),
    "ab start 2 3": StartComparison("2", "3"),
    "ab start base @3": StartComparison("base", "@3"),
    "ab start helpdesk@2 helpdesk@3": StartComparison("helpdesk@2", "helpdesk@3", "helpdesk"),
    "ab start 2 helpdesk@3 --split 20": StartComparison("2", "helpdesk@3", "helpdesk", 0.2),
    "ab start 2 3 helpdesk --split=5%": StartComparison("2", "3", "helpdesk", 0.05),
    "ab start --split 99 2 3": StartComparison("2", "3", share=0.99),
    "promote 3": Promote("3"),
    "promote helpdesk@3": Promote("helpdesk@3", "helpdesk"),
    "promote 3 helpdesk": Promote("3", "helpdesk"),
    "rollback": RollBack(),
    "rollback helpdesk": RollBack("helpdesk"),
}

NOT_UNDERSTOOD = {
    "retrian": "`/understudy retrain`",
    "roll back": "`/understudy rollback`",
    "promot 3": "`/understudy promote`",
    "frobnicate": "`/understudy help`",
    "ab stat": "`/understudy ab start`",
    "ab begin 2 3": "`/understudy help`",
    "retrain --fulll": "`--full`",
    "retrain a b": "'b'",
    "retrain -x": "'-x'",
    "status now": "'now'",
    "ask": "ask QUESTION",
    "ask   ": "ask QUESTION",
    "cancel": "runs",
    "cancel seven": "runs",
    "cancel ²": "runs",
    "cancel -1": "runs",
    "promote": "promote VERSION",
    "promote 1 2 3": "promote VERSION",
    "promote helpdesk@3 legal": "several domains",
    "ab start 2": "ab start A B",
    "ab start a@1 b@2": "several domains",
    "ab start 2 3 --split": "1 to 99",
    "ab start 2 3 --split 0": "1 to 99",
    "ab start 2 3 --split 100": "1 to 99",
    "ab start 2 3 --split half": "1 to 99",
    "ab start 2 3 --split 99999999999999999999": "1 to 99",
}

ROLES = {
    "help": "member",
    "status": "member",
    "ask x": "member",
    "runs": "reviewer",
    "ab status": "reviewer",
    "retrain": "admin",
    "cancel 1": "admin",
    "ab start 1 2": "admin",
    "ab stop": "admin",
    "promote 1": "admin",
    "rollback": "admin",
}


@pytest.mark.parametrize("text", UNDERSTOOD)
def test_what_is_typed_becomes_one_command(text: str) -> None:
    assert UNDERSTOOD[text] == parse(text)


@pytest.mark.parametrize("text", NOT_UNDERSTOOD)
def test_what_is_not_understood_is_answered_with_what_to_type(text: str) -> None:
    with pytest.raises(NotUnderstood) as caught:
        parse(text)
    assert NOT_UNDERSTOOD[text] in str(caught.value)


@pytest.mark.parametrize("text", ROLES)
def test_each_command_names_the_role_that_it_needs(text: str) -> None:
    assert ROLES[text] == parse(text).needs


def test_the_usage_lists_every_command_with_its_role() -> None:
    examples = {"QUESTION": "why", "RUN": "1", "A": "1", "B": "2", "VERSION": "1"}
    for role, usage, _ in commands.USAGE:
        words = usage.split("[")[0].split()
        typed = " ".join(examples.get(word, word) for word in words)
        assert role == parse(typed).needs, usage
    assert len(commands.USAGE) == len(ROLES)
