"""Calls of tools, as an engine streams them: their names, and their arguments piece by piece."""

from collections.abc import Sequence
from dataclasses import dataclass, field

MAX_CALLS = 32  # in one answer


@dataclass(frozen=True)
class ToolCall:
    """The wish of a model that a function is called."""

    name: str
    arguments: str  # JSON; cut where the answer reached its limit of tokens


@dataclass(frozen=True)
class CallPiece:
    """A piece of the call at a place in the answer."""

    index: int
    name: str = ""
    arguments: str = ""


@dataclass
class CallPieces:
    """The calls of one answer while it arrives."""

    _names: dict[int, str] = field(default_factory=dict)
    _arguments: dict[int, list[str]] = field(default_factory=dict)

    def add(self, pieces: Sequence[CallPiece]) -> None:
        for piece in pieces:
            self._names[piece.index] = self._names.get(piece.index, "") + piece.name
            self._arguments.setdefault(piece.index, []).append(piece.arguments)

    @property
    def whole(self) -> tuple[ToolCall, ...]:
        """The calls in their order; without those that have no name."""
        return tuple(
            ToolCall(self._names[index], "".join(self._arguments[index]))
            for index in sorted(self._names)
            if self._names[index]
        )
