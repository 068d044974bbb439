"""`/understudy …` as people type it in Slack, as a table."""

import re

import pytest

from bot.commands import registry
from bot.commands.commands import (
    AnswerUnanswered,
    AskPrivately,
    CancelRun,
    ExplainDecision,
    Forget,
    GrantRole,
    Help,
    Incomplete,
    ListAdapters,
    ListDecisions,
    ListDomains,
    ListRuns,
    Menu,
    PlanRetrain,
    Promote,
    PutTester,
    RampComparison,
    Retire,
    RetrainCommand,
    ReviewCommand,
    RevokeRole,
    RollBack,
    SetPolicy,
    SetTrigger,
    ShowAdapterLineage,
    ShowComparison,
    ShowPairLineage,
    ShowPolicy,
    ShowRoles,
    ShowTriggers,
    StartComparison,
    StatusCommand,
    StopComparison,
)
from bot.commands.grammar import NotUnderstood
from bot.commands.perform import perform
from bot.commands.registry import Command, Verb
from bot.slack.commands import dialect, forms


def parse(text: str) -> Command:
    return dialect.parse(text, "T1")


UNDERSTOOD = {
    "": Menu(),
    "   ": Menu(),
    "  help  ": Help(),
    "help me please": Help(),
    "STATUS": StatusCommand(),
    "ask  what is  LoRA? ": AskPrivately("what is  LoRA?"),
    "ask why is 1 &lt; 2?": AskPrivately("why is 1 &lt; 2?"),  # as Slack writes it elsewhere
    "domains": ListDomains(),
    "adapters": ListAdapters(),
    "adapters Helpdesk": ListAdapters("helpdesk"),
    "review": ReviewCommand(),
    "unanswered": AnswerUnanswered(),
    "unanswered helpdesk": AnswerUnanswered("helpdesk"),
    "review helpdesk": ReviewCommand("helpdesk"),
    "retrain": RetrainCommand(),
    "retrain HelpDesk": RetrainCommand("helpdesk"),
    "retrain --full": RetrainCommand(full=True),
    "retrain helpdesk --full": RetrainCommand("helpdesk", full=True),
    "retrain —full": RetrainCommand(full=True),
    "retrain –full helpdesk": RetrainCommand("helpdesk", full=True),
    "retrain --preferences": RetrainCommand(preferences=True),
    "retrain helpdesk --preferences": RetrainCommand("helpdesk", preferences=True),
    "retrain --dry-run": PlanRetrain(),
    "retrain —dry-run helpdesk --full": PlanRetrain("helpdesk", full=True),
    "retrain --preferences --dry-run": PlanRetrain(preferences=True),
    "triggers": ShowTriggers(),
    "triggers show HelpDesk": ShowTriggers("helpdesk"),
    "triggers set pairs 20": SetTrigger("pairs", "20"),
    "triggers set schedule 0 3 * * 1": SetTrigger("schedule", "0 3 * * 1"),
    "triggers set time-zone Europe/Berlin —domain Legal": SetTrigger(
        "time-zone", "Europe/Berlin", "legal"
    ),
    "triggers set schedule 0 3 * * 1 --domain=legal": SetTrigger("schedule", "0 3 * * 1", "legal"),
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
    "ab start live:grounded live:ungrounded": StartComparison("live:grounded", "live:ungrounded"),
    "ab start helpdesk@2:grounded 2": StartComparison("helpdesk@2:grounded", "2", "helpdesk"),
    "ab start 2 3 --pairwise": StartComparison("2", "3", pairwise=True),
    "ab start 2 3 --split 20 --pairwise": StartComparison("2", "3", None, 0.2, True),
    "ab start helpdesk 2 3": StartComparison("2", "3", "helpdesk"),  # as on the command line
    "ab start live 3": StartComparison("live", "3"),
    "ab start v2 V3": StartComparison("2", "3"),
    "ab start": Incomplete("ab start"),
    "ab start helpdesk": Incomplete("ab start", "helpdesk"),
    "ab ramp 40": RampComparison(0.4),
    "ab ramp helpdesk 40%": RampComparison(0.4, "helpdesk"),
    "ab ramp": Incomplete("ab ramp"),
    "ab tester <@U2|grace> b": PutTester("slack:T1/U2", "B"),
    "ab tester <@U2> A Helpdesk": PutTester("slack:T1/U2", "A", "helpdesk"),
    "ab decisions": ListDecisions(),
    "ab decisions helpdesk": ListDecisions("helpdesk"),
    "ab explain #3": ExplainDecision(3),
    "policy": ShowPolicy(),
    "policy helpdesk": ShowPolicy("helpdesk"),
    "ab tester": Incomplete("ab tester"),
    "policy set": Incomplete("policy set"),
    "policy set helpdesk": Incomplete("policy set", "helpdesk"),
    "policy set auto": SetPolicy("auto"),
    "ab ramp helpdesk": Incomplete("ab ramp", "helpdesk"),
    "forget slack:T1/U2": Forget("slack:T1/U2"),
    "policy Auto": SetPolicy("auto"),
    "policy helpdesk auto-roll-back": SetPolicy("auto-roll-back", "helpdesk"),
    "policy advise helpdesk": SetPolicy("advise", "helpdesk"),
    "retire 3": Retire("3"),
    "retire": Incomplete("retire"),
    "cancel": Incomplete("cancel"),
    "forget": Incomplete("forget"),
    "roles add": Incomplete("roles add"),
    "roles remove": Incomplete("roles remove"),
    "promote": Incomplete("promote"),
    "promote helpdesk": Incomplete("promote", "helpdesk"),
    "promote helpdesk 3": Promote("3", "helpdesk"),
    "retire helpdesk@3": Retire("helpdesk@3", "helpdesk"),
    "forget <@U2|grace>": Forget("slack:T1/U2"),
    "forget &lt;@U2&gt;": Forget("slack:T1/U2"),
    "forget U2": Forget("slack:T1/U2"),
    "forget U2 --retrain": Forget("slack:T1/U2", retrain=True),
    "adapters lineage 3": ShowAdapterLineage("3"),
    "adapters lineage helpdesk@3": ShowAdapterLineage("helpdesk@3", "helpdesk"),
    "pairs lineage 7": ShowPairLineage(7),
    "roles": ShowRoles(),
    "roles list": ShowRoles(),
    "roles add <@U2|grace> reviewer": GrantRole("slack:T1/U2", "reviewer"),
    "roles add <@W2> Admin": GrantRole("slack:T1/W2", "admin"),
    "roles remove <@U2>": RevokeRole("slack:T1/U2"),
    "promote 3": Promote("3"),
    "promote helpdesk@3": Promote("helpdesk@3", "helpdesk"),
    "promote 3 helpdesk": Promote("3", "helpdesk"),
    "rollback": RollBack(),
    "rollback helpdesk": RollBack("helpdesk"),
}

NOT_UNDERSTOOD = {
    "retrian": "`/understudy retrain`",
    "roll back": "`/understudy rollback`",
    "promot 3": "Did you mean `/understudy promote 3`?",
    "retrian helpdesk --full": "`/understudy retrain helpdesk --full`",
    "roles ad <@U2|grace> admin": "`/understudy roles add`?",
    "abstart 1 2": "`/understudy ab start 1 2`",
    "frobnicate": "`/understudy help`",
    "ab stat": "`/understudy ab start`",
    "ab begin 2 3": "There is no command `ab begin`. `/understudy help`",
    "`" * 60: "There is no command `'''",
    "x" * 3_000: "There is no command `x",
    "retrain --fulll": "`--full`",
    "retrain a b": "'b'",
    "retrain -x": "'-x'",
    "status now": "'now'",
    "ask": "ask QUESTION",
    "ask   ": "ask QUESTION",
    "cancel seven": "runs",
    "cancel ²": "runs",
    "cancel -1": "runs",
    "retrain --full --preferences": "choose one",
    "review a b": "'b'",
    "adapters a b": "'b'",
    "domains all": "'all'",
    "domain": "`/understudy domains`",
    "revue": "`/understudy review`",
    "forget @ada": "Type @",
    "forget slack:T2/U2": "Type @",
    "forget <!channel>": "Type @",
    "forget <@U1> <@U2>": "has no argument",
    "roles add <@U2>": "reviewer or admin",
    "roles add <@U2> king": "reviewer or admin",
    "roles add <@U2> admin now": "'now'",
    "roles remove grace": "Type @",
    "role": "`/understudy roles`",
    "ab ramp 40 50": "ab ramp PERCENT",
    "ab ramp 40 a b": "'b'",
    "ab ramp 0": "between 1 and 99",
    "ab tester grace": "Type @",
    "ab tester <@U2>": "Which variant",
    "ab tester <@U2> both": "Which variant",
    "ab explain": "ab decisions",
    "ab explain why": "ab decisions",
    "policy auto advise": "Which policy",
    "policy a b": "'b'",
    "promote 1 2 3": "promote VERSION",
    "promote helpdesk@3 legal": "several domains",
    "ab start 2": "ab start A B",
    "ab start A B": "'A' is not a version",
    "promote the newest": "'the' is not a version",
    "ab start a@1 b@2": "several domains",
    "ab start 2 3 --split": "between 1 and 99",
    "ab start 2 3 --split 0": "between 1 and 99",
    "ab start 2 3 --split 100": "between 1 and 99",
    "ab start 2 3 --split half": "between 1 and 99",
    "ab ramp 00500": "between 1 and 99",
    f"ab ramp 0010{'0' * 5_000}": "between 1 and 99",
    "ab start 2 3 --split 99999999999999999999": "between 1 and 99",
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
    "unanswered": "reviewer",
    "retrain --dry-run": "reviewer",
    "retrain --preferences": "admin",
    "ab ramp 40": "admin",
    "ab tester U1 B": "admin",
    "ab decisions": "reviewer",
    "ab explain 1": "reviewer",
    "policy": "reviewer",
    "policy auto": "admin",
    "adapters lineage 1": "reviewer",
    "pairs lineage 1": "reviewer",
    "triggers": "reviewer",
    "triggers set pairs 20": "admin",
    "promote": "admin",
    "ab start 1 2 --pairwise": "admin",
    "retire 1": "admin",
    "forget U1": "admin",
    "roles add U1 reviewer": "admin",
    "roles remove U1": "admin",
    "channel": "member",
    "channel listen all": "admin",
    "channel domain legal": "admin",
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
def test_a_typed_line_becomes_one_command(text: str) -> None:
    assert UNDERSTOOD[text] == parse(text)


@pytest.mark.parametrize("text", NOT_UNDERSTOOD)
def test_an_unknown_line_is_answered_with_a_correction(text: str) -> None:
    with pytest.raises(NotUnderstood) as caught:
        parse(text)
    assert NOT_UNDERSTOOD[text] in str(caught.value)


@pytest.mark.parametrize("text", ROLES)
def test_each_command_names_the_role_that_it_needs(text: str) -> None:
    assert ROLES[text] == parse(text).needs


def test_the_usage_lists_every_command_with_its_role() -> None:
    examples = {"QUESTION": "why", "RUN": "1", "PAIR": "1", "A": "1", "B": "2", "VERSION": "1"}
    examples |= {"@PERSON": "<@U1|ada>", "ROLE": "reviewer", "PERCENT": "40", "VARIANT": "B"}
    examples |= {"DECISION": "1", "NAME": "auto", "MODE": "off"}
    examples |= {"SETTING": "pairs", "VALUE": "20"}
    for verb in registry.listed():
        words = re.sub(r"\[[^\]]*\]", "", verb.usage).split()
        typed = parse(" ".join(examples.get(word, word) for word in words))
        assert (type(typed), typed.needs) == (verb.command, verb.role), verb.usage
    kinds = {type(parse(text)) for text in ROLES}
    assert kinds == {v.command for v in registry.verbs()} | {Incomplete} == _leaves(Command)


@pytest.mark.parametrize("verb", registry.verbs(), ids=lambda verb: verb.name)
def test_every_command_is_performed_by_its_function_or_by_slack(verb: Verb) -> None:
    """Each can be typed, as the tests above show."""
    has_function = perform.dispatch(verb.command) is not perform.dispatch(Command)
    assert has_function == (verb.effect != "front end")
    if verb.effect == "front end":
        assert verb.command in (AskPrivately, *forms.OPENING)


def _leaves(kind: type) -> set[type]:
    return {leaf for sub in kind.__subclasses__() for leaf in _leaves(sub)} or {kind}
