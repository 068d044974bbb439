"""Sentences of other rooms name commands of the command line. Here they are said as one gives them
in Slack, and of those that Slack has not it is said where they are given."""

import re

NAME = r"[a-z][a-z0-9-]{0,31}"
IN_SLACK: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(rf"`understudy {pattern}`"), rf"`/understudy {typed}`")
    for pattern, typed in (
        (r"runs cancel (\d+)", r"cancel \1"),
        (rf"adapters (promote|retire|rollback) ({NAME}(?:@\d+)?)", r"\1 \2"),
        (rf"ab start ({NAME}) A B", r"ab start A B \1"),
        (rf"ab (stop|status|decisions) ({NAME})", r"ab \1 \2"),
        (rf"tune( {NAME})?( --full)?", r"retrain\1\2"),
        (rf"pairs review( {NAME})?", r"review\1"),
    )
)
# commands that every front end has, named without a front end
ANYWHERE = (re.compile(r"`(roles(?: (?:add|remove)[^`]*)?)`"), r"`/understudy \1`")
ELSEWHERE = "(`understudy …` is for whoever runs me, on a command line.)"


def in_slack(text: str) -> str:
    """What an error or an alert says, with the commands that there are in Slack."""
    for pattern, typed in (*IN_SLACK, ANYWHERE):
        text = pattern.sub(lambda m, t=typed: m.expand(t), text)  # type: ignore[misc]
    return f"{text} {ELSEWHERE}" if "`understudy " in text else text
