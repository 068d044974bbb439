"""LangChain's standard integration tests for chat models, through `ChatOpenAI`.

Every test must pass, except for those in `DOES_NOT_APPLY`, which must be skipped for that reason.
"""

import os
import re
import sys
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_openai import ChatOpenAI
from langchain_tests.integration_tests import ChatModelIntegrationTests

MODEL = os.environ["MODEL"]
DOES_NOT_APPLY = {
    "messages are text": (
        "test_pdf_inputs",
        "test_audio_inputs",
        "test_image_inputs",
        "test_image_tool_message",
        "test_pdf_tool_message",
    ),
    "the API is not Anthropic's": ("test_anthropic_inputs",),
    "there are no recorded answers to replay": ("test_stream_time",),
}
WHY = {name: why for why, names in DOES_NOT_APPLY.items() for name in names}


class TestChatOpenAI(ChatModelIntegrationTests):
    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatOpenAI

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": MODEL, "stream_usage": True}

    @property
    def has_tool_calling(self) -> bool:
        return True

    @property
    def has_tool_choice(self) -> bool:
        return True

    @property
    def has_structured_output(self) -> bool:
        return True

    @property
    def structured_output_kwargs(self) -> dict[str, Any]:
        return {"method": "json_schema"}

    @property
    def supports_json_mode(self) -> bool:
        return True

    @property
    def model_override_value(self) -> str:
        return f"{MODEL}@2"


class Outcomes:
    """Which tests passed, and which did not run."""

    def __init__(self) -> None:
        self.passed: list[str] = []
        self.skipped: set[str] = set()
        self.wrong: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        name = re.sub(r"\[.*", "", report.nodeid.rpartition("::")[2])
        if report.skipped:
            self.skipped.add(name)
        elif report.failed:
            self.wrong.append(f"{name}\n{report.longreprtext[-2_000:]}")
        elif report.when == "call":
            self.passed.append(name)


if __name__ == "__main__":
    outcomes = Outcomes()
    given = ["-q", "-p", "no:cacheprovider", "-c", os.devnull]
    # LangChain keeps the connections of its asynchronous client, and so needs one event loop
    for name in ("mode=auto", "default_test_loop_scope=session"):
        given += ["-o", f"asyncio_{name}"]
    sys.stdout, shown = sys.stderr, sys.stdout
    pytest.main([*given, "--rootdir", os.environ["LLM_USER_PATH"], __file__], plugins=[outcomes])
    sys.stdout = shown
    print(f"{len(outcomes.passed)} of LangChain's standard tests")
    for why, names in DOES_NOT_APPLY.items():
        print(f"{len(names)} do not apply: {why}")
    unexpected = outcomes.skipped ^ set(WHY)
    assert not outcomes.wrong, "\n".join(outcomes.wrong)
    assert not unexpected, f"skipped or not, against expectation: {sorted(unexpected)}"
    assert len(outcomes.passed) > 20
