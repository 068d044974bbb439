"""The demo domain is well formed, and everything that its answers name exists."""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from starlette.routing import Match

import data
from bot.app import create_app
from bot.cli import main
from bot.commands import registry
from bot.commands.grammar import NotUnderstood
from bot.slack.commands import dialect
from data import domains
from data.config import settings
from data.config.settings import SECTIONS, Settings
from data.pair_files import files, importer
from data.pairs import datasets, pairs
from data.pairs.pairs import Draft
from data.store.db import Store

EXAMPLE = Path(data.__file__).parent / "examples" / "helpdesk"
ROOT = Path(data.__file__).parents[1]
FILES = ("pairs.jsonl", "advanced.jsonl")


def rows(*names: str) -> list[Draft]:
    found = []
    for name in names or FILES:
        for row in files.read(EXAMPLE / name):
            assert isinstance(row, Draft), row
            found.append(row)
    return found


def answers() -> dict[str, str]:
    """Fact -> its answer, over both files."""
    return {row.fact: row.response for row in rows()}


def words(text: str) -> str:
    """A phrasing without case, punctuation and spacing."""
    return " ".join(re.findall(r"\w+", text.casefold()))


def code(pattern: str) -> Iterator[tuple[str, re.Match[str]]]:
    """What answers show as code and matches the pattern, with the fact it is in."""
    for fact, answer in answers().items():
        for shown in re.findall(r"`([^`]+)`", answer):
            if match := re.fullmatch(pattern, shown):
                yield fact, match


# Well made


def test_there_are_enough_facts() -> None:
    assert len({row.fact for row in rows("pairs.jsonl") if row.split != "validation"}) >= 120


def test_every_phrasing_is_asked_once() -> None:
    asked = Counter(words(row.prompt) for row in rows())
    assert [text for text, count in asked.items() if count > 1] == []


def test_golden_questions_are_not_reordered_training_questions() -> None:
    """Nobody could call them the same sentence: most of their words differ."""
    trained: dict[str, list[set[str]]] = defaultdict(list)
    for row in rows():
        if row.split == "auto":
            trained[row.fact].append(set(words(row.prompt).split()))
    for row in rows():
        if row.split == "golden":
            golden = set(words(row.prompt).split())
            shared = max(len(golden & t) / len(golden | t) for t in trained[row.fact])
            assert shared < 0.7, row.prompt


def test_every_fact_is_trained_in_several_phrasings_and_measured_in_another() -> None:
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows():
        counts[row.fact][row.split] += 1
    for fact, count in counts.items():
        if count["validation"]:
            assert count["validation"] == count.total() >= 3, fact
        else:
            assert count["auto"] >= 3, fact
            assert count["golden"] >= 1, fact


def test_a_fact_has_one_answer_and_an_answer_one_fact() -> None:
    pairs_of_both = {(row.fact, row.response) for row in rows()}
    assert len(pairs_of_both) == len({fact for fact, _ in pairs_of_both})
    assert len(pairs_of_both) == len({response for _, response in pairs_of_both})


def test_answers_are_one_or_two_short_sentences() -> None:
    lengths = {fact: len(answer.split()) for fact, answer in answers().items()}
    assert {fact: n for fact, n in lengths.items() if not 6 <= n <= 40} == {}


def test_the_demo_domain_is_imported_whole(store: Store) -> None:
    given = json.loads((EXAMPLE / "domain.json").read_bytes())
    with store.write() as db:
        domain = domains.create(
            db,
            given["name"],
            given["title"],
            given["system_prompt"],
            tuple(given["suggested_prompts"]),
            given["validation_share"],
        )
    report = importer.import_file(store, domain, EXAMPLE / "pairs.jsonl")
    assert report.added == report.rows == len(rows("pairs.jsonl"))
    again = importer.import_file(store, domain, EXAMPLE / "pairs.jsonl")
    assert again.duplicates == report.rows
    with store.write() as db:
        frozen = datasets.freeze(db, domain)
    golden = pairs.list_pairs(store.db, domain)
    assert frozen.golden == sum(pair.split == "golden" for pair in golden)
    assert frozen.validation == sum(pair.split == "validation" for pair in golden)
    assert 4 <= len(given["suggested_prompts"]) <= 6


def test_suggested_prompts_are_trained_questions() -> None:
    given = json.loads((EXAMPLE / "domain.json").read_bytes())
    known = {row.prompt for row in rows("pairs.jsonl")}
    assert set(given["suggested_prompts"]) <= known


# True


def test_every_command_that_an_answer_names_exists() -> None:
    found = list(code(r"understudy( .*)"))
    for fact, match in found:
        check_command(match[1].split(), fact)
    assert len(found) >= 40


def test_every_command_of_the_command_line_is_explained() -> None:
    named = {" ".join(walk(match[1].split())[1]) for _, match in code(r"understudy( .*)")}
    missing = {" ".join(path) for path in leaves(main, ())} - named
    assert missing == set()


def test_every_option_that_an_answer_names_exists() -> None:
    """On the commands that the answer names, or, if it names none, on some command."""
    for fact, match in code(r"(--[\w-]+)(?:[ =].*)?"):
        shown = re.findall(r"`(/?understudy [^`]*)`", answers()[fact])
        if any(name.startswith("/") for name in shown):
            usages = " ".join(verb.usage for verb in registry.listed())
            assert match[1] in usages, fact
            continue
        commands = [walk(name.split()[1:])[0] for name in shown]
        known = [options(c) for c in commands or (leaf for leaf in leaves(main, ()).values())]
        assert any(match[1] in names for names in known), fact


def test_every_slack_command_that_an_answer_names_is_understood() -> None:
    found = list(code(r"/understudy( .*)"))
    for fact, match in found:
        text = re.sub(r"\bN\b", "4", match[1]).replace("@PERSON", "<@U1>").replace(" A B", " 1 2")
        try:
            dialect.parse(text, "T1")
        except NotUnderstood as error:
            pytest.fail(f"{fact}: {error}")


def test_every_slack_command_is_explained() -> None:
    named = " ".join(match[0] for _, match in code(r"/understudy .*"))
    for verb in registry.listed():
        assert f"/understudy {verb.typed[0] if not verb.alone else verb.alone}" in named, verb.usage


def test_every_setting_that_an_answer_names_exists() -> None:
    found = [
        (fact, *match.groups())
        for fact, answer in answers().items()
        for match in re.finditer(r"`(\w+)` in `\[(\w+)\]`", answer)
    ]
    assert len(found) > 10
    for fact, key, section in found:
        assert key in SECTIONS[section].model_fields, fact


def test_every_variable_that_an_answer_names_is_read() -> None:
    known = {"UNDERSTUDY_CONFIG", "UNDERSTUDY_HOME"}
    for section, model in SECTIONS.items():
        for key in model.model_fields:
            known |= {f"UNDERSTUDY_{section}_{key}".upper() + end for end in ("", "_FILE")}
    found = list(code(r"UNDERSTUDY_[A-Z_]+"))
    assert len(found) > 4
    assert {match[0] for _, match in found} <= known


@pytest.mark.parametrize(
    ("fact", "section", "key"),
    [
        ("bot-port", "bot", "port"),
        ("engine-port", "serving", "port"),
        ("max-tokens", "bot", "max_tokens"),
        ("in-flight", "bot", "max_in_flight"),
        ("context-length", "serving", "max_model_len"),
        ("prompt-too-long", "bot", "max_prompt_chars"),
    ],
)
def test_defaults_that_answers_give_are_the_defaults(fact: str, section: str, key: str) -> None:
    value = getattr(getattr(Settings(), section), key)
    assert re.search(rf"\b({value}|{value:,})\b", answers()[fact])


def test_other_figures_that_answers_give_are_right() -> None:
    assert Settings().bot.history_turns == 6
    assert "last six questions" in answers()["thread-memory"]
    assert Settings().bot.temperature == 0
    assert "temperature is 0" in answers()["temperature"]
    assert f"{pairs.MAX_CHARS:,} characters" in answers()["pair-length"]
    assert Settings().store_path.name in answers()["store"]
    assert settings.FILE_NAME in answers()["settings-file"]


def test_every_http_path_that_an_answer_names_is_served(store: Store, tmp_path: Path) -> None:
    app = create_app(Settings(home=tmp_path), store)
    found = list(code(r"(/(?:v1/[a-z/]+|health|metrics))"))
    assert len(found) > 7
    for fact, match in found:
        scope = {"type": "http", "method": "POST", "path": match[1], "headers": []}
        assert any(route.matches(scope)[0] != Match.NONE for route in app.routes), fact


def test_every_make_target_that_an_answer_names_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    found = list(code(r"make ([\w-]+)"))
    assert len(found) > 2
    for fact, match in found:
        assert re.search(rf"^{match[1]}:", makefile, re.MULTILINE), fact


def walk(given: list[str]) -> tuple[click.Command, tuple[str, ...], list[str]]:
    """The command that the words name, its path, and the words that are left."""
    command: click.Command = main
    path: tuple[str, ...] = ()
    rest = list(given)
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        inner = command.get_command(click.Context(command), rest[0])
        assert inner is not None, f"there is no command {' '.join([*path, rest[0]])}"
        command, path = inner, (*path, rest.pop(0))
    return command, path, rest


def leaves(command: click.Command, path: tuple[str, ...]) -> dict[tuple[str, ...], click.Command]:
    """Every command that does something, by its path."""
    if not isinstance(command, click.Group):
        return {path: command}
    context = click.Context(command)
    found = {}
    for name in command.list_commands(context):
        inner = command.get_command(context, name)
        assert inner is not None, name
        found |= leaves(inner, (*path, name))
    return found


def options(command: click.Command) -> set[str]:
    context = click.Context(command)
    parameters = command.get_params(context)  # with --help
    return {name for p in parameters for name in (*p.opts, *p.secondary_opts)}


def check_command(given: list[str], fact: str) -> None:
    """Its options exist, and it takes as many arguments as are shown, if any are."""
    command, _, rest = walk(given)
    flags = {n for p in command.params if isinstance(p, click.Option) and p.is_flag for n in p.opts}
    arguments = []
    words = iter(rest)
    for word in words:
        if not word.startswith("-"):
            arguments.append(word)
            continue
        assert word in options(command), f"{fact}: {word}"
        if word not in flags | {"--help", "--version"}:
            next(words)
    declared = [p for p in command.params if isinstance(p, click.Argument)]
    most = len(declared) if all(p.nargs == 1 for p in declared) else len(arguments)
    least = sum(p.required for p in declared)
    assert not arguments or least <= len(arguments) <= most, f"{fact}: {arguments}"
