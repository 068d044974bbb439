"""What is held back of an answer until it is clear that it is one."""

from typing import Any

from bot.answering.events import Delta
from bot.answering.tool_use import Tools
from data.search import layout
from serving.client import Chunk, ToolCall


class Beginning:
    """The beginning of an answer, held back while it may still turn out to say that the references
    do not answer the question. With tools it is held back to its end, if it has to be a call, or is
    declined unless it is one."""

    def __init__(self, tools: Tools | None = None, *, must_call: bool = False) -> None:
        self.text = ""
        self.logprobs: tuple[dict[str, Any], ...] = ()
        self.demanded = tools is not None and tools.demanded
        self.held = must_call or self.demanded  # the writing may hold it back, too
        self._must_call = must_call
        self._tools = tools
        self._calls: tuple[ToolCall, ...] = ()

    def add(self, chunk: Chunk) -> Delta:
        """What to show now."""
        self._calls += chunk.tool_calls
        if not self.held:
            return Delta(chunk.text, chunk.logprobs)
        self.text += chunk.text
        self.logprobs += chunk.logprobs
        to_the_end = self._must_call or self.demanded
        self.held = to_the_end or layout.may_become_unknown(self.text)
        return Delta("") if self.held else Delta(self.text, self.logprobs)

    @property
    def is_unknown(self) -> bool:
        if self._must_call:
            return not self._calls
        return self.held and not self.demanded and not self._calls and layout.is_unknown(self.text)

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The calls of tools in the answer, when it has ended."""
        if self._tools is not None and self.demanded:
            return self._tools.calls_in(self.text)
        return self._calls
