"""`docs/openapi.json` against the service, by schemathesis, with the key of each role."""

import subprocess
import sys
from pathlib import Path

import pytest

from data.people.roles import ROLES
from tests.bot.conftest import Bot

DOCUMENT = Path(__file__).parents[3] / "docs" / "openapi.json"
SCHEMATHESIS = Path(sys.executable).parent / "schemathesis"
# What an answer may be, whoever asks: no error of ours, and as the document says
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,"
    "response_schema_conformance"
)


@pytest.mark.long
@pytest.mark.parametrize("role", [*ROLES, ""])
def test_whatever_is_sent_the_answer_is_as_documented(bot: Bot, role: str) -> None:
    send(bot, role, examples=20)


@pytest.mark.integration
def test_a_few_requests_of_an_admin_are_answered_as_documented(bot: Bot) -> None:
    send(bot, "admin", examples=1)


def send(bot: Bot, role: str, examples: int) -> None:
    key = ["-H", f"Authorization: Bearer {bot.secrets[role]}"] if role else []
    limits = ["--max-examples", str(examples), "--seed", "7", "--phases", "examples,fuzzing"]
    limits += ["--suppress-health-check", "too_slow"]  # of the generator: a busy machine is slow
    where = [str(DOCUMENT), "--url", bot.url, "--request-timeout", "30"]
    command = [str(SCHEMATHESIS), "run", *where, "--checks", CHECKS, *limits, *key]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-6_000:]
