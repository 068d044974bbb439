"""Rewrites command-line commands in messages as Slack commands.

Errors and alerts from other packages name commands of the command line. Those that Slack has too
become `/understudy …`; a note explains where to run the others."""

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
ELSEWHERE = "(`understudy …` commands run on the command line of the machine that hosts me.)"


def in_slack(text: str) -> str:
    """The text of an error or alert, with Slack's commands where it has them."""
    for pattern, typed in (*IN_SLACK, ANYWHERE):
        text = pattern.sub(lambda m, t=typed: m.expand(t), text)  # type: ignore[misc]
    return f"{text} {ELSEWHERE}" if "`understudy " in text else text
