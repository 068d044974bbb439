"""The reference pages match the code."""

import click
import pytest
from pydantic import BaseModel, Field

from tools.reference import cli, markdown, pages, settings, slack_commands


@pytest.mark.parametrize("name", pages.PAGES)
def test_writing_a_page_again_changes_nothing(name: str, tmp_path: pages.Path) -> None:
    (tmp_path / name).write_text(pages.page(name), encoding="utf-8")

    assert tmp_path / name not in pages.write(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(pages.PAGES)


def test_every_template_belongs_to_a_page_and_is_linked_from_the_readme() -> None:
    templates = {path.name for path in pages.TEMPLATES.glob("*.md")}
    readme = (pages.ROOT / "README.md").read_text(encoding="utf-8")

    assert templates == {name for name in pages.PAGES if name.endswith(".md")}
    assert [name for name in templates if f"(docs/{name})" not in readme] == []


def test_a_setting_is_shown_with_its_range_default_and_variable() -> None:
    class Model(BaseModel):
        share: float = Field(default=0.5, gt=0, le=1, description="A share | part.")

    field = Model.model_fields["share"]

    assert settings.row("bot", "share", field) == (
        "`share`<br>`UNDERSTUDY_BOT_SHARE`",
        "number, more than 0 and at most 1",
        "`0.5`",
        "A share | part.",
    )
    assert markdown.cell("A share | part.") == "A share \\| part."


@pytest.mark.parametrize("section", settings.SECTIONS)
def test_every_setting_has_a_description(section: str) -> None:
    fields = settings.SECTIONS[section].model_fields

    assert [name for name, field in fields.items() if not field.description] == []


def test_every_command_and_option_is_listed() -> None:
    @click.group()
    def root() -> None:
        """All."""

    @root.command()
    @click.argument("who")
    @click.option("--count", type=click.IntRange(1, 9), default=3, help="How many")
    @click.option("--each", multiple=True, metavar="NAME=VALUE", help="Pairs.")
    @click.option("--wait/--no-wait", default=True, help="Stay.")
    @click.option("--json", "as_json", is_flag=True)
    def go(who: str) -> None:
        """Go to WHO."""

    assert "\n".join(cli.sections(root, click.Context(root, info_name="root"), 2)) == (
        "## root\n\nAll.\n\n"
        "### root go\n\nGo to WHO.\n\n"
        "```\nroot go [OPTIONS] WHO\n```\n\n"
        "| Option | Value | Default | Description |\n"
        "| --- | --- | --- | --- |\n"
        "| `--count` | whole number from 1 to 9 | `3` | How many. |\n"
        "| `--each` | `NAME=VALUE` |  | Pairs. May be given several times. |\n"
        "| `--wait`, `--no-wait` |  | `--wait` | Stay. |\n"
        "| `--json` |  |  |  |\n"
    )


def test_slack_commands_are_listed_under_the_role_that_they_need() -> None:
    text = slack_commands.reference()
    everyone, reviewers, admins = text.split("\n## ")

    assert "`/understudy ask QUESTION`" in everyone
    assert "`/understudy review [DOMAIN]`" in reviewers
    assert "`/understudy promote VERSION [DOMAIN] [--yes]`" in admins
    assert text.count("| `/understudy ") == len(slack_commands.commands())
