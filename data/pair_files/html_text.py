"""HTML as plain text, with the few marks of Markdown that answers use.

Paragraphs, lists, tables, code and the addresses of links stay; styles, scripts and images go.
"""

import re
from html.parser import HTMLParser

DROPPED = frozenset({"script", "style", "head", "template", "svg", "iframe", "noscript"})
BLOCKS = frozenset({
    "p", "div", "section", "article", "header", "footer", "h1", "h2", "h3", "h4", "h5", "h6", "ul",
    "ol", "dl", "table", "blockquote", "pre", "figure", "hr", "body", "html", "details", "address",
})  # fmt: skip
LINES = frozenset({"tr", "li", "dt", "dd", "summary", "caption"})
PIECE = 16 * 1024  # characters
DEEPEST = 20  # levels by which items of lists in one another are indented
SPACE = re.compile(r"[ \t\r\f\v\u00a0]*\n[ \t\r\f\v\u00a0]*|[ \t\r\f\v\u00a0]+")
MARK = re.compile(r"(?:^|\n) *(?:-|\d+\.) $")  # of a list item, with nothing after it


class LinearParser(HTMLParser):
    """Parses a whole text in time that is proportional to its length.

    `HTMLParser` looks at the rest of the text for every `<` whose tag does not end, and for every
    comment: kilobytes of them take minutes. Here the text arrives in pieces, and a tag that goes on
    is looked at again only when twice as much of it is there."""

    def parse(self, source: str) -> None:
        at = 0
        while at < len(source):
            piece = source[at : at + max(PIECE, len(self.rawdata))]
            self.feed(piece)
            at += len(piece)
        if self.rawdata.startswith("<") and not self.cdata_elem:
            left, self.rawdata = self.rawdata, ""
            if not left.startswith("<!--"):
                self.handle_data(left)
        self.close()


def html_text(source: str) -> str:
    """The text of a piece of HTML; '' if it shows nothing."""
    reader = _Reader()
    reader.parse(source)
    return reader.text()


class _Reader(LinearParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._parts: list[str] = []
        self._dropped = 0  # open elements that show nothing
        self._pre = 0
        self._lists: list[int | None] = []  # of each open list the next number, None for bullets
        self._links: list[tuple[str, int]] = []  # address, and where its text begins
        self._cells = 0  # of the open table row

    def text(self) -> str:
        lines = "".join(self._parts).split("\n")
        whole = "\n".join(line.rstrip() for line in lines).strip("\n")
        return re.sub(r"\n{3,}", "\n\n", whole).strip()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in DROPPED:
            self._dropped += 1
            return
        if self._dropped:
            return
        if tag in BLOCKS:
            self._break(1 if self._lists else 2)
        elif tag in LINES:
            self._break(1)
        if tag == "br" and self._parts:
            self._parts.append("\n")
        elif tag in ("ul", "ol"):
            self._lists.append(1 if tag == "ol" else None)
        elif tag == "li":
            self._item()
        elif tag == "pre":
            self._pre += 1
            self._parts.append("```\n")
        elif tag == "code" and not self._pre:
            self._parts.append("`")
        elif tag in ("td", "th"):
            self._parts.append(" | " if self._cells else "")
            self._cells += 1
        elif tag == "tr":
            self._cells = 0
        elif tag == "a":
            self._links.append((dict(attrs).get("href") or "", len(self._parts)))

    def handle_endtag(self, tag: str) -> None:
        if tag in DROPPED:
            self._dropped = max(0, self._dropped - 1)
            return
        if self._dropped:
            return
        if tag == "pre" and self._pre:
            self._pre -= 1
            self._break(1)
            self._parts.append("```")
        elif tag == "code" and not self._pre:
            self._parts.append("`")
        elif tag in ("ul", "ol") and self._lists:
            self._lists.pop()
        elif tag == "a" and self._links:
            self._link(*self._links.pop())
        if tag in BLOCKS:
            self._break(1 if self._lists else 2)

    def handle_data(self, data: str) -> None:
        if self._dropped:
            return
        if not self._pre:
            data = SPACE.sub(" ", data)
            if self._at_line_start():
                data = data.lstrip(" ")
        if data:
            self._parts.append(data)

    def _item(self) -> None:
        depth = min(max(len(self._lists) - 1, 0), DEEPEST)
        number = self._lists[-1] if self._lists else None
        if number is not None:
            self._lists[-1] = number + 1
        self._parts.append("  " * depth + ("- " if number is None else f"{number}. "))

    def _link(self, address: str, start: int) -> None:
        """Add the address of a link, unless its text shows it."""
        shown = "".join(self._parts[start:]).strip()
        bare = address.removeprefix("mailto:").removeprefix("tel:")
        if address.startswith(("http://", "https://", "mailto:")) and bare.rstrip("/") not in shown:
            self._parts.append(f" ({bare})" if shown else bare)

    def _at_line_start(self) -> bool:
        last = next((part for part in reversed(self._parts) if part), "\n")
        return last.endswith(("\n", "- ", ". ", " ")) if last.strip(" ") else True

    def _break(self, lines: int) -> None:
        """End the line; with 2, leave a blank line as well. The line of a list's mark goes on."""
        end = "".join(self._parts[-3:])
        if not end.strip(" ") or MARK.search(end):
            return
        have = end[len(end.rstrip("\n ")) :].count("\n")
        self._parts.append("\n" * max(0, lines - have))
