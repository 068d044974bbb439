"""What the README and docs/ say can be found: links, settings, commands."""

import difflib
import inspect
import re
import textwrap
from pathlib import Path
from typing import Any

import click
import pytest

from bot.cli import main
from data.store import migrations as migrations_package
from data.store.db import Store
from tools.reference import pages

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("*/README.md")])
LINK = re.compile(r"\]\(([^)\s]+)\)")
COMMAND = re.compile(r"`(?:\.venv/bin/)?understudy ([a-z][^`]*)`|^understudy ([a-z].*)$", re.M)


def headings(page: Path) -> set[str]:
    """The anchors of a page, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", t.lower()).replace(" ", "-") for t in titles}


def test_the_readme_shows_the_folders_as_they_are() -> None:
    """Every package with its sub-packages, and nothing that is not there."""
    tree = (ROOT / "README.md").read_text(encoding="utf-8").split("## The folders")[1]
    shown: dict[str, set[str]] = {}
    for line in tree.split("```")[1].strip().splitlines():
        names = re.findall(r"(?:^|(?<=\s))(\w+(?:\.py|/))(?=\s)", line)
        if not line.startswith(" "):
            top = names[0].rstrip("/")
            shown[top] = set()
        else:
            shown[top].update(name.rstrip("/") for name in names)

    assert all((ROOT / top).is_dir() for top in shown)
    for top in ("bot", "data", "serving", "tuning"):
        packages = {init.parent.name for init in (ROOT / top).glob("*/__init__.py")}
        assert packages <= shown[top]
        assert all((ROOT / top / name).exists() for name in shown[top])


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


FILE = re.compile(
    r"`((?:bot|data|serving|tuning|tools|tests|benchmarks)/[\w./-]+)`(?:\s+\(`(\w+)`\))?"
)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_that_is_named_is_there(page: Path) -> None:
    """And what stands behind it in parentheses is defined in it."""
    lost = []
    for name, symbol in FILE.findall(page.read_text(encoding="utf-8")):
        file = ROOT / name
        if "NAME" in name:  # a recipe's placeholder
            continue
        if not file.exists():
            lost.append(name)
        elif symbol and not re.search(
            rf"^ *(?:async def|def|class) {symbol}\b", file.read_text(encoding="utf-8"), re.M
        ):
            lost.append(f"{symbol} in {name}")
    assert lost == []


def test_the_walks_are_numbered_and_name_a_file_in_each_step() -> None:
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    walks = re.findall(r"^## (From a .+?)\n(.+?)(?=^## )", text, re.M | re.S)

    assert len(walks) == 4
    for title, walk in walks:
        steps = re.findall(r"^(\d+)\. (.+)$", walk, re.M)
        assert [int(n) for n, _ in steps] == list(range(1, len(steps) + 1)), title
        assert [step for _, step in steps if not FILE.match(step)] == [], title


def test_the_picture_of_the_tables_has_every_table(tmp_path: Path) -> None:
    schema = inspect.getdoc(migrations_package) or ""
    picture = schema.split("The tables:\n\n")[1].split("\n\n`replies`")[0]
    with Store(tmp_path / "understudy.db") as store:
        every = {name for name in store.db.table_names() if not name.startswith("_")}
        searched = store.db.table_names(fts5=True)
        shadows = {n for n in every for table in searched if n.startswith(f"{table}_")}
        tables = every - shadows

    names = re.sub(r"(?<=\w) {3,}.*", "", picture)  # without what is said about them
    assert tables == set(re.findall(r"\w+", names))
    page = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    assert f"```\n{textwrap.dedent(picture)}\n```" in page


def test_the_glossary_names_tables_and_columns_of_the_schema(tmp_path: Path) -> None:
    text = (ROOT / "docs/glossary.md").read_text(encoding="utf-8").split("## Old names")[0]
    terms = re.findall(r"^\| ([^|]+) \| [^|]+ \| `[\w./]+` \| ([^|]*)\|$", text, re.M)
    with Store(tmp_path / "understudy.db") as store:
        known = set(store.db.table_names())
        known |= {f"{table.name}.{c.name}" for table in store.db.tables for c in table.columns}

    assert len(terms) > 70
    stored = {name for _, cell in terms for name in re.findall(r"`([\w.]+)`", cell)}
    assert stored - known == set()
    assert len(terms) == text.count("\n| ") - 2 * text.count("\n| Term |")  # each has a module


def test_every_old_name_has_a_new_one_and_a_module() -> None:
    text = (ROOT / "docs/glossary.md").read_text(encoding="utf-8").split("## Old names")[1]
    rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \| `([\w./]+)` \|$", text, re.M)

    assert len(rows) == text.count("\n| ") - 2 > 40
    assert [old for old, *_ in rows if not old.strip()] == []
