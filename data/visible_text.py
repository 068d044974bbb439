"""Shows characters that would change what a reader sees: control and bidirectional ones.

Anybody can write an escape sequence that clears a reviewer's terminal, or a right-to-left override
that makes one answer look like another. `visible` is for showing any text that people or a model
wrote. `marked` is for taking it in: it leaves the marks that right-to-left writing needs.
"""

import re

# C0 and DEL without tab and newline; C1; the controls of Unicode's bidirectional algorithm
# (UAX #9, section 2); line and paragraph separators; and characters without any appearance.
CONTROLS = "\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029"
OVERRIDES = "\u202a-\u202e\u2066-\u2069"
MARKS = "\u061c\u200e\u200f"
INVISIBLE = "\u200b\u2060-\u2064\u206a-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"
SHOWN = re.compile(f"[{CONTROLS}{OVERRIDES}{MARKS}{INVISIBLE}]")
MARKED = re.compile(f"[{CONTROLS}{OVERRIDES}]")


def visible(text: str) -> str:
    """`text` with symbols such as `␛` and `⟨U+202E⟩` in place of such characters."""
    return SHOWN.sub(_symbol, text.replace("\r\n", "\n"))


def marked(text: str) -> str:
    """`text` as it is stored: with symbols for controls and overrides, and `\\n` as line end."""
    return MARKED.sub(_symbol, text.replace("\r\n", "\n"))


def escaped(json: str) -> str:
    """A JSON document with JSON's own escapes for such characters, so that its values stay."""
    return SHOWN.sub(_escape, json)


def _symbol(found: re.Match[str]) -> str:
    code = ord(found.group())
    if code < 0x20:
        return chr(0x2400 + code)  # Unicode's control pictures
    return "␡" if code == 0x7F else f"⟨U+{code:04X}⟩"


def _escape(found: re.Match[str]) -> str:
    pair = found.group().encode("utf-16-be")
    units = [pair[at : at + 2] for at in range(0, len(pair), 2)]
    return "".join(f"\\u{unit.hex()}" for unit in units)
