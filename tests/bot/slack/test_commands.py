"""The grammar of `/understudy`, as a table."""

import re

import pytest

from bot.slack import commands
from bot.slack.commands import (
    AskPrivately,
    CancelRun,
    Forget,
    GrantRole,
    Help,
    ListAdapters,
    ListDomains,
    ListRuns,
    Menu,
    NotUnderstood,
    PlanRetrain,
    Promote,
    Retire,
    Retrain,
    Review,
    RevokeRole,
    RollBack,
    ShowComparison,
    ShowRoles,
    StartComparison,
    Status,
    StopComparison,
    parse,
)

UNDERSTOOD = {
    "": Menu(),
    "   ": Menu(),
    "  help  ": Help(),
    "help me please": Help(),
    "STATUS": Status(),
    "ask  what is  LoRA? ": AskPrivately("what is  LoRA?"),
    "ask why is 1 &lt; 2?": AskPrivately("why is 1 &lt; 2?"),  # as Slack writes it elsewhere
    "domains": ListDomains(),
    "adapters": ListAdapters(),
    "adapters Helpdesk": ListAdapters("helpdesk"),
    "review": Review(),
    "review helpdesk": Review("helpdesk"),
    "retrain": Retrain(),
    "retrain HelpDesk": Retrain("helpdesk"),
    "retrain --full": Retrain(full=True),
    "retrain helpdesk --full": Retrain("helpdesk", full=True),
    "retrain —full": Retrain(full=True),
    "retrain –full helpdesk": Retrain("helpdesk", full=True),
    "retrain --preferences": Retrain(preferences=True),
    "retrain helpdesk --preferences": Retrain("helpdesk", preferences=True),
    "retrain --dry-run": PlanRetrain(),
    "retrain —dry-run helpdesk --full": PlanRetrain("helpdesk", full=True),
    "retrain --preferences --dry-run": PlanRetrain(preferences=True),
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
    "ab start 2 3 --pairwise": StartComparison("2", "3", pairwise=True),
    "ab start 2 3 --split 20 --pairwise": StartComparison("2", "3", None, 0.2, True),
    "retire 3": Retire("3"),
    "retire helpdesk@3": Retire("helpdesk@3", "helpdesk"),
    "forget <@U2|grace>": Forget("U2"),
    "forget &lt;@U2&gt;": Forget("U2"),
    "forget U2": Forget("U2"),
    "roles": ShowRoles(),
    "roles list": ShowRoles(),
    "roles add <@U2|grace> reviewer": GrantRole("U2", "reviewer"),
    "roles add <@W2> Admin": GrantRole("W2", "admin"),
    "roles remove <@U2>": RevokeRole("U2"),
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
    "retrain --full --preferences": "choose one",
    "review a b": "'b'",
    "adapters a b": "'b'",
    "domains all": "'all'",
    "domain": "`/understudy domains`",
    "revue": "`/understudy review`",
    "forget": "Type @",
    "forget @ada": "Type @",
    "forget <!channel>": "Type @",
    "forget <@U1> <@U2>": "more than",
    "roles add": "Type @",
    "roles add <@U2>": "reviewer or admin",
    "roles add <@U2> king": "reviewer or admin",
    "roles add <@U2> admin now": "'now'",
    "roles remove": "Type @",
    "roles ad <@U2> admin": "`/understudy roles add`",
    "role": "`/understudy roles`",
    "retire": "retire VERSION",
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
    "": "member",
    "domains": "member",
    "adapters": "member",
    "roles": "member",
    "review": "reviewer",
    "retrain --dry-run": "reviewer",
    "retrain --preferences": "admin",
    "ab start 1 2 --pairwise": "admin",
    "retire 1": "admin",
    "forget U1": "admin",
    "roles add U1 reviewer": "admin",
    "roles remove U1": "admin",
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
    examples |= {"@PERSON": "<@U1|ada>", "ROLE": "reviewer"}
    kinds = {Menu}  # which has no words
    for role, usage, _ in commands.USAGE:
        words = re.sub(r"\[[^\]]*\]", "", usage).split()
        typed = parse(" ".join(examples.get(word, word) for word in words))
        assert role == typed.needs, usage
        kinds.add(type(typed))
    assert kinds == {type(parse(text)) for text in ROLES} == _leaves(commands.Command)


def _leaves(kind: type) -> set[type]:
    return {leaf for sub in kind.__subclasses__() for leaf in _leaves(sub)} or {kind}
