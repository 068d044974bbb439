"""FAQ pages in HTML: schema.org's FAQPage, `<details>`, `<dl>` and headings.

A page that carries its questions as JSON-LD (https://schema.org/FAQPage,
https://developers.google.com/search/docs/appearance/structured-data/faqpage) is read from there,
because that names questions and answers without the page around them. Navigation and footers are
left out.
"""

import re
from collections.abc import Iterator
from typing import Any

import orjson

from data.pair_files.faq_blocks import Block, faq_rows
from data.pair_files.html_text import LinearParser, html_text
from data.pair_files.markdown_files import NUMBER, whole_text
from data.pair_files.reading import Lines, PairFormat, Reading
from data.pair_files.verdicts import NumberedRow

STARTS = re.compile(
    rb"(?:<\?xml[^>]*>\s*|<!--.*?-->\s*)*<(?:!doctype html|html|head|body|main|article|section|div|"
    rb"h[1-6]|details|dl|p|ul|ol|meta|script|style|link|title)\b",
    re.IGNORECASE | re.DOTALL,
)
HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")
LEFT_OUT = frozenset({"nav", "footer", "aside", "head", "script", "style", "template", "noscript"})
VOID = frozenset({
    "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "wbr",
})  # fmt: skip
DEEPEST = 20  # levels of JSON-LD that are searched


def is_html(start: bytes) -> bool:
    return STARTS.match(start.lstrip()) is not None


def read_html(lines: Lines, reading: Reading) -> Iterator[NumberedRow]:
    """Raises Invalid if the page is too large or has no questions."""
    source = whole_text(lines, reading)
    if not source.strip():
        return
    page = _Page()
    page.parse(source)
    page.flush()
    structured = [block for data in page.structured for block in _questions(*data)]
    if structured:
        reading.notes.append(
            f"The questions of {reading.path.name} are those that it states for search engines "
            "(FAQPage)."
        )
    yield from faq_rows(structured or page.blocks, reading)


class _Page(LinearParser):
    """Collects the blocks of a page. What lies between them is kept as HTML until it ends."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=False)
        self.blocks: list[Block] = []
        self.structured: list[tuple[str, int]] = []  # JSON-LD, and its line
        self._html: list[str] = []  # since the last block
        self._line = 1  # where it begins
        self._inside = ""  # the element of a heading or question that is open
        self._out = 0  # open elements that are left out
        self._json = False

    def flush(self) -> None:
        """End the open block."""
        text = html_text("".join(self._html))
        if self._inside:
            text = NUMBER.sub("", " ".join(text.split()))
            level = HEADINGS.index(self._inside) + 1 if self._inside in HEADINGS else 0
            if text:
                kind = "heading" if level else "question"
                self.blocks.append(
                    Block(kind, text, self._line, level, self._inside == "dt")  # type: ignore[arg-type]
                )
        elif text:
            self.blocks.append(Block("text", text, self._line))
        self._html, self._inside, self._line = [], "", self.getpos()[0]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "script" and dict(attrs).get("type", "") == "application/ld+json":
            self._json = True
            self.structured.append(("", self.getpos()[0]))
        if tag in LEFT_OUT:
            self._out += 1
        elif tag == "body":  # the end of the head may be left out
            self._out = 0
        if self._out:
            return
        if tag in HEADINGS and self._inside in ("summary", "dt"):
            return
        if tag in (*HEADINGS, "summary", "dt", "dd"):
            self.flush()
            self._inside = "" if tag == "dd" else tag
        elif tag == "details":
            self.flush()
        else:
            self._html.append(self.get_starttag_text() or "")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if not self._out and tag in VOID:
            self._html.append(self.get_starttag_text() or "")

    def handle_endtag(self, tag: str) -> None:
        self._json = self._json and tag != "script"
        if tag in LEFT_OUT:
            self._out = max(0, self._out - 1)
            return
        if self._out:
            return
        if tag == self._inside:
            self.flush()
        elif tag in ("details", "dl", "dd"):
            self.flush()
            self.blocks.append(Block("end", line=self.getpos()[0]))
        else:
            self._html.append(f"</{tag}>")

    def handle_data(self, data: str) -> None:
        if self._json:
            text, line = self.structured[-1]
            self.structured[-1] = (text + data, line)
        elif not self._out:
            self._html.append(data)

    def handle_entityref(self, name: str) -> None:
        self._reference(f"&{name};")

    def handle_charref(self, name: str) -> None:
        self._reference(f"&#{name};")

    def _reference(self, text: str) -> None:
        if not self._out:
            self._html.append(text)


def _questions(text: str, line: int) -> Iterator[Block]:
    """The questions of one piece of JSON-LD, each with its accepted answer."""
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        return  # no data that a browser or a search engine could read either
    for question in _of_type(found, "Question", DEEPEST):
        name = question.get("name") or question.get("text")
        accepted = question.get("acceptedAnswer")
        if isinstance(accepted, list):
            accepted = accepted[0] if accepted else None
        answer = accepted.get("text") if isinstance(accepted, dict) else None
        if isinstance(name, str):
            yield Block("question", " ".join(html_text(name).split()), line)
            if isinstance(answer, str):
                yield Block("text", html_text(answer), line)
            yield Block("end", line=line)


def _of_type(value: Any, name: str, deepest: int) -> Iterator[dict[str, Any]]:
    """The objects of a type, in order."""
    if not deepest:
        return
    if isinstance(value, list):
        for each in value:
            yield from _of_type(each, name, deepest - 1)
    elif isinstance(value, dict):
        types = value.get("@type")
        if name in (types if isinstance(types, list) else [types]):
            yield value
            return
        for each in value.values():
            yield from _of_type(each, name, deepest - 1)


HTML_PAGE = PairFormat(starts=is_html, read=read_html)
