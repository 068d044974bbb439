"""Draws Slack's blocks roughly as Slack shows them: an SVG of each message, form and Home tab.

Each word is squeezed into its estimated width, so a picture looks the same with any fonts and is
the same file each time it is drawn.
"""

import html
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

Block = dict[str, Any]

WIDTH, PAD = 640, 20
INK, GREY, LINE, BLUE, GREEN, RED = "#1d1c1d", "#616061", "#dddddd", "#1264a3", "#007a5a", "#e01e5a"
EMOJI = {
    "white_check_mark": "✅", "x": "❌", "no_entry_sign": "🚫", "hourglass_flowing_sand": "⏳",
    "warning": "⚠️", "scales": "⚖️", "leftwards_arrow_with_hook": "↩️", "wastebasket": "🗑️",
    "heavy_minus_sign": "➖", "+1": "👍", "-1": "👎",
}  # fmt: skip
PEOPLE = {"U1": "Ada", "U2": "Grace", "U3": "Alan"}
CHANNELS = {"C1": "general", "C2": "reviewers"}
TOKENS = re.compile(r"(`[^`\n]+`|(?<![\w*])\*[^*\n]+\*(?![\w*])|(?<![\w_])_[^_\n]+_(?![\w_]))")


@dataclass
class Page:
    """The picture so far. `y` is where the next element starts, in pixels."""

    y: float = 0
    parts: list[str] = field(default_factory=list)

    def text(self, x: float, text: str, size: float, fill: str = INK, style: str = "") -> float:
        """Draw a word or line at the current height; returns its width."""
        width = estimated_width(text, size, "bold" in style, "mono" in style)
        family = "monospace" if "mono" in style else "Helvetica, Arial, sans-serif"
        weight = ' font-weight="700"' if "bold" in style else ""
        slant = ' font-style="italic"' if "italic" in style else ""
        self.parts.append(
            f'<text x="{x:.1f}" y="{self.y:.1f}" font-size="{size:g}" font-family="{family}" '
            f'fill="{fill}"{weight}{slant} textLength="{width:.1f}" '
            f'lengthAdjust="spacingAndGlyphs">{html.escape(text)}</text>'
        )
        return width

    def box(self, x: float, y: float, width: float, height: float, **look: object) -> None:
        given = " ".join(f'{k.replace("_", "-")}="{v}"' for k, v in look.items())
        self.parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" {given}/>'
        )


def estimated_width(text: str, size: float, bold: bool = False, mono: bool = False) -> float:
    """The estimated width of a text, in pixels."""
    if mono:
        return 0.6 * size * len(text)
    width = 0.0
    for letter in text:
        if letter in "ijl.,:;'|!I":
            width += 0.26
        elif letter in "ftr()-[]/ “”`":
            width += 0.34
        elif ord(letter) >= 0x2E80 or letter in "mwMW…@%":
            width += 0.95
        elif letter.isupper():
            width += 0.68
        else:
            width += 0.54
    return width * size * (1.05 if bold else 1.0)


def words(text: str, literal: bool = False) -> Iterator[tuple[str, str]]:
    """mrkdwn as words with their style; a line break is `("\\n", "")`. `literal`: no mrkdwn."""
    if literal:
        yield from ((part, "") for part in re.findall(r"\n|[^\s]+[ \t]*|[ \t]+", text))
        return
    text = re.sub(r"<@(\w+)>", lambda m: f"@{PEOPLE.get(m[1], m[1])}", text)
    text = re.sub(r"<#(\w+)>", lambda m: f"#{CHANNELS.get(m[1], m[1])}", text)
    text = re.sub(r":([a-z_+\d-]+):", lambda m: EMOJI.get(m[1], m[0]), text)
    text = html.unescape(text)
    for token in TOKENS.split(text):
        style = {"`": "mono", "*": "bold", "_": "italic"}.get(token[:1], "")
        if style and len(token) > 2 and token[0] == token[-1]:
            token = token[1:-1]
        else:
            style = ""
        for part in re.findall(r"\n|[^\s]+[ \t]*|[ \t]+", token):
            yield part, style


def paragraph(
    page: Page,
    text: str,
    size: float,
    fill: str = INK,
    left: float = PAD,
    right: float = PAD,
    literal: bool = False,
) -> None:
    """Draw words, broken into lines at spaces."""
    x, line, space = left, size * 1.45, True
    page.y += line
    for word, style in words(text, literal):
        width = estimated_width(word.rstrip(), size, style == "bold", style == "mono")
        too_long = x + width > WIDTH - right and x > left and space
        if word == "\n" or too_long:
            x = left
            page.y += line
        if word == "\n":
            continue
        colour = BLUE if word.startswith(("@", "#")) else RED if style == "mono" else fill
        page.text(x, word.rstrip(), size, colour, style)
        trailing = len(word) - len(word.rstrip())
        space = trailing > 0
        x += width + trailing * size * 0.28
    page.y += size * 0.35


def button(page: Page, x: float, top: float, element: Block) -> float:
    """Draw a button; returns where the next one goes."""
    label = str(element.get("text", {}).get("text") or "…")
    if element["type"] == "users_select":
        label = element["placeholder"]["text"] + "  ▾"
    if element["type"] == "static_select":
        label = element.get("initial_option", element["options"][0])["text"]["text"] + "  ▾"
    style = element.get("style")
    width = estimated_width(label, 14, bold=True) + 24
    fill = GREEN if style == "primary" else "#ffffff"
    edge = RED if style == "danger" else GREEN if style == "primary" else "#bbbbbb"
    page.box(x, top, width, 32, rx=4, fill=fill, stroke=edge)
    ink = "#ffffff" if style == "primary" else RED if style == "danger" else INK
    before, page.y = page.y, top + 21
    page.text(x + 12, label, 14, ink, "bold")
    page.y = before
    return x + width + 8


def actions(page: Page, block: Block) -> None:
    x, top = float(PAD), page.y + 10
    for element in block["elements"]:
        label = str(element.get("text", {}).get("text") or "a label of several words")
        if x + estimated_width(label, 14, bold=True) + 24 > WIDTH - PAD:
            x, top = PAD, top + 40
        x = button(page, x, top, element)
    page.y = top + 38


def section(page: Page, block: Block) -> None:
    accessory = block.get("accessory")
    top = page.y
    if "text" in block:
        paragraph(page, block["text"]["text"], 15, right=190 if accessory else PAD)
    if accessory:
        button(page, WIDTH - 170, top + 6, accessory)
        page.y = max(page.y, top + 42)


def context(page: Page, block: Block) -> None:
    for element in block["elements"]:
        paragraph(page, element["text"], 13, GREY)


def header(page: Page, block: Block) -> None:
    page.y += 30
    page.text(PAD, block["text"]["text"], 18, INK, "bold")
    page.y += 6


def divider(page: Page, block: Block) -> None:
    page.y += 12
    page.box(PAD, page.y, WIDTH - 2 * PAD, 1, fill=LINE)
    page.y += 4


def markdown(page: Page, block: Block) -> None:
    paragraph(page, block["text"].replace("**", "*"), 15)


def text_input(page: Page, block: Block) -> None:
    element = block["element"]
    page.y += 26
    optional = " (optional)" if block.get("optional") else ""
    width = page.text(PAD, block["label"]["text"], 15, INK, "bold")
    if optional:
        page.text(PAD + width + 4, optional.strip(), 13, GREY)
    if element["type"] == "checkboxes":
        page.y += 4
        for option in element["options"]:
            page.box(PAD, page.y + 8, 14, 14, rx=3, fill="#ffffff", stroke="#888888")
            if option in element.get("initial_options", ()):
                page.y += 20
                page.text(PAD + 2, "✓", 13, INK, "bold")
                page.y -= 20
            paragraph(page, option["text"]["text"], 14, left=PAD + 24)
    elif element["type"] in ("static_select", "users_select"):
        button(page, PAD, page.y + 8, element)
        page.y += 44
    else:
        top = page.y + 8
        typed = element.get("initial_value", "")
        inside = Page(top)
        shown = typed or element.get("placeholder", {}).get("text", "")
        paragraph(inside, shown, 14, INK if typed else GREY, PAD + 12, PAD + 12, literal=True)
        height = max(56, inside.y - top + 10)
        page.box(PAD, top, WIDTH - 2 * PAD, height, rx=4, fill="#ffffff", stroke="#888888")
        page.parts += inside.parts
        page.y = top + height
    if "hint" in block:
        paragraph(page, block["hint"]["text"], 12.5, GREY)


def feedback(page: Page, block: Block) -> None:
    page.y += 24
    page.text(PAD, "👍   👎", 15, GREY)
    page.y += 6


DRAW: dict[str, Callable[[Page, Block], None]] = {
    "section": section,
    "context": context,
    "actions": actions,
    "header": header,
    "divider": divider,
    "markdown": markdown,
    "input": text_input,
    "context_actions": feedback,
}


def draw(blocks: list[Block], page: Page) -> None:
    for block in blocks:
        DRAW[block["type"]](page, block)


def message(blocks: list[Block], private: bool = False) -> str:
    """A message of the bot in a channel, or to one person only."""
    page = Page(18)
    if private:
        page.text(PAD, "Only visible to you", 12.5, GREY)
        page.y += 10
    page.box(PAD, page.y, 20, 20, rx=4, fill="#4a154b")
    page.y += 16
    page.text(PAD + 28, "Understudy", 15, INK, "bold")
    page.box(PAD + 122, page.y - 12, 30, 15, rx=3, fill=LINE)
    page.text(PAD + 127, "APP", 10, GREY, "bold")
    draw(blocks, page)
    return _svg(page)


def form(view: Block) -> str:
    """A modal."""
    page = Page(34)
    page.text(PAD, view["title"]["text"], 20, INK, "bold")
    page.text(WIDTH - PAD - 14, "✕", 16, GREY)
    page.y += 8
    page.box(0, page.y + 6, WIDTH, 1, fill=LINE)
    page.y += 8
    draw(view["blocks"], page)
    page.y += 18
    page.box(0, page.y, WIDTH, 1, fill=LINE)
    x = WIDTH - PAD
    for name, style in (("submit", "primary"), ("close", "")):
        if name in view:
            element = {"type": "button", "text": view[name], "style": style}
            x -= estimated_width(view[name]["text"], 14, bold=True) + 24
            button(page, x, page.y + 14, element)
            x -= 8
    page.y += 52
    return _svg(page)


def home(blocks: list[Block]) -> str:
    page = Page(0)
    draw(blocks, page)
    return _svg(page)


def _svg(page: Page) -> str:
    height = page.y + 20
    frame = Page()
    frame.box(0.5, 0.5, WIDTH - 1, height - 1, rx=8, fill="#ffffff", stroke=LINE)
    body = "\n".join([*frame.parts, *page.parts])
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height:.0f}" '
        f'viewBox="0 0 {WIDTH} {height:.0f}">\n{body}\n</svg>\n'
    )
