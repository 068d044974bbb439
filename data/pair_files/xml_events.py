"""Reads XML piece by piece, without entities of its own.

A document type declaration is refused, so that nothing in a file can expand (billion laughs) or
name another file (XXE); https://cheatsheetseries.owasp.org/cheatsheets/XML_Security_Cheat_Sheet.html
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple
from xml.parsers import expat

from data.store.errors import Invalid


class XmlEvent(NamedTuple):
    """The start or the end of an element, or text."""

    kind: str  # "start", "end" or "text"
    name: str  # of the element, without its namespace; or the text
    attributes: Mapping[str, str]  # names without namespace
    line: int


def read_xml(
    data: Iterable[bytes], path: object, *, only_starts: bool = False
) -> Iterator[XmlEvent]:
    """The events of a document that arrives in pieces; `only_starts` gives no others than those of
    elements that start. Raises Invalid for what is no XML, and for a document type declaration."""
    found: list[XmlEvent] = []
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True

    def start(name: str, attributes: dict[str, str]) -> None:
        if any(" " in key for key in attributes):
            attributes = {_local(key): value for key, value in attributes.items()}
        found.append(XmlEvent("start", _local(name), attributes, parser.CurrentLineNumber))

    def end(name: str) -> None:
        found.append(XmlEvent("end", _local(name), {}, parser.CurrentLineNumber))

    def text(said: str) -> None:
        found.append(XmlEvent("text", said, {}, parser.CurrentLineNumber))

    def refuse(*declared: object) -> None:
        raise Invalid(f"{path} declares a document type (DOCTYPE), which is not read.")

    parser.StartElementHandler = start
    if not only_starts:
        parser.EndElementHandler = end
        parser.CharacterDataHandler = text
    parser.StartDoctypeDeclHandler = refuse
    try:
        for piece in data:
            parser.Parse(piece, False)
            yield from found
            found.clear()
        parser.Parse(b"", True)
        yield from found
    except expat.ExpatError as error:
        yield from found
        raise Invalid(f"{path} is not valid XML: {error}") from None


def _local(name: str) -> str:
    return name.rpartition(" ")[2]
