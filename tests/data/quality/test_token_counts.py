"""The tokens that a check counts are those that a run trains on."""

import dataclasses
from pathlib import Path

import pytest

import data
from data.config.settings import Settings
from data.domains import Domain
from data.pairs.pairs import Turn
from data.quality import token_counts
from data.quality.findings import Surroundings
from tests.data.quality.given_rows import found, pair

POCKET = Path(data.__file__).parent / "pocket"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.model_validate({"home": str(tmp_path), "base": {"model": "pocket"}})


@pytest.mark.integration
def test_the_counts_are_those_of_a_run(settings: Settings, domain: Domain) -> None:
    from tuning.data.examples import encode
    from tuning.model.base_model import load_tokenizer
    from tuning.model.chat_template import stop_ids

    tokenizer = load_tokenizer(str(POCKET))
    subject = dataclasses.replace(domain, system_prompt="You answer at the desk.")
    pairs = [
        pair(1, "When does it open?", "At nine."),
        pair(2, "Überall?", "Nein, nur im Erdgeschoß — ☃.\n\n- eins\n- zwei\n"),
        dataclasses.replace(
            pair(3, "And then?", "Then you wait."),
            turns=(Turn("user", "How?"), Turn("assistant", "Press it.")),
            system="You are brief.",
        ),
    ]
    count = token_counts.of_base(settings, subject).count_tokens
    assert count is not None
    stops = stop_ids(tokenizer)
    for one, counted in zip(pairs, count(pairs), strict=True):
        example = encode(
            one, tokenizer, system_prompt=subject.system_prompt, stops=stops, max_length=4096
        )
        assert counted.total == len(example.ids), one.prompt
        assert counted.response == example.answered, one.prompt


def test_a_pair_beyond_the_limit_is_named(settings: Settings, domain: Domain) -> None:
    around = token_counts.of_base(settings, domain, max_length=64)
    assert found("too-long", pair(1, "Why?", "So. " * 80), around=around).pair_ids == (1,)
    assert found("too-long", pair(1, "Why?", "So."), around=around).pair_ids == ()


def test_without_a_tokenizer_lengths_are_not_checked(settings: Settings, domain: Domain) -> None:
    base = settings.base.model_copy(update={"model": "nobody/nothing"})
    around = token_counts.of_base(settings.model_copy(update={"base": base}), domain)
    finding = found("too-long", pair(1, "Why?", "So."), around=around)
    assert (finding.count, bool(finding.not_checked)) == (0, True)


@pytest.fixture
def strict(tmp_path: Path, domain: Domain) -> Surroundings:
    """A base whose template refuses two questions in a row."""
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((POCKET / name).read_bytes())
    (tmp_path / "chat_template.jinja").write_text(
        "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
        "{{ raise_exception('roles must alternate') }}{% endif %}{{ m.content }}{% endfor %}"
    )
    settings = Settings.model_validate({"home": str(tmp_path), "base": {"model": str(tmp_path)}})
    return token_counts.of_base(settings, dataclasses.replace(domain, system_prompt=""))


def test_a_pair_that_the_template_refuses_is_named(strict: Surroundings) -> None:
    twice = dataclasses.replace(pair(2, "Why?", "So."), turns=(Turn("user", "Hello?"),))
    finding = found("refused-by-template", pair(1, "Why?", "So."), twice, around=strict)
    assert (finding.pair_ids, finding.examples[0].detail) == ((2,), "roles must alternate")
    assert found("too-long", pair(1, "Why?", "So."), twice, around=strict).count == 0


def test_a_template_that_refuses_every_pair_is_the_bases_fault(strict: Surroundings) -> None:
    same = [dataclasses.replace(pair(n, f"{n}?", "So."), system="Be brief.") for n in range(30)]
    finding = found("refused-by-template", *same, around=strict)
    assert finding.count == 0
    assert "fails for every pair: roles must alternate" in finding.not_checked


def test_no_pair_has_more_tokens_than_its_bound(settings: Settings, domain: Domain) -> None:
    subject = dataclasses.replace(domain, system_prompt="You answer at the desk.")
    around = token_counts.of_base(settings, subject)
    turns = (Turn("user", "x"), Turn("assistant", "y")) * 5
    pairs = [
        pair(1, "☃", "🙂🙂🙂"), pair(2, "\ufdfa" * 9, "Ⅷ" * 20), pair(3, "a", "b"),
        dataclasses.replace(pair(4, "And then?", "Then."), turns=turns, system="é" * 40),
    ]  # fmt: skip
    assert around.count_tokens is not None
    assert around.most_tokens is not None
    for one, counted in zip(pairs, around.count_tokens(pairs), strict=True):
        assert counted.total <= around.most_tokens(one)
