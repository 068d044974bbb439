"""What the README and docs/ say can be found: links, settings, commands."""

import difflib
import re
from pathlib import Path
from typing import Any

import click
import pytest

from bot.cli import main
from tools.reference import pages

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("*/README.md")])
LINK = re.compile(r"\]\(([^)\s]+)\)")
COMMAND = re.compile(r"`(?:\.venv/bin/)?understudy ([a-z][^`]*)`|^understudy ([a-z].*)$", re.M)


def headings(page: Path) -> set[str]:
    """The anchors of a page, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", t.lower()).replace(" ", "-") for t in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    lost = []
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        if link.startswith(("http://", "https://")):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name) if name else page
        if not target.exists() or (anchor and anchor not in headings(target)):
            lost.append(link)
    assert lost == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_that_is_named_is_there(page: Path) -> None:
    """As far as words are commands: what follows the last one is an argument."""
    unknown = []
    for inline, line in COMMAND.findall(page.read_text(encoding="utf-8")):
        words = (inline or line).split("#")[0].split()
        group: Any = main
        for word in words:
            if not isinstance(group, click.Group):
                break
            if word in ("|", "…", "...") or not re.fullmatch(r"[a-z-]+", word):
                break
            found = group.get_command(click.Context(group), word)
            if found is None:
                unknown.append(" ".join(words))
            group = found
    assert unknown == []


@pytest.mark.parametrize("name", pages.PAGES)
def test_the_reference_pages_are_up_to_date(name: str) -> None:
    found, wanted = (ROOT / "docs" / name).read_text(encoding="utf-8"), pages.page(name)
    diff = "\n".join(
        difflib.unified_diff(
            found.splitlines(), wanted.splitlines(), f"docs/{name}", "the code", lineterm="", n=1
        )
    )
    assert found == wanted, f"Run `python -m tools.reference`, or `make docs`.\n{diff}"
