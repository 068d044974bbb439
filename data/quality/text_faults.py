"""Faults that can be seen in a text alone: placeholders, HTML, broken encodings, control tokens and
swear words. Code between backticks is not looked at where code may hold the same."""

import re
from collections.abc import Iterator

from data.quality.findings import Found, NotChecked, Rows, not_installed, short

PLACEHOLDER = re.compile(
    r"\{\{\s*[A-Za-z_][\w .|-]{0,60}\}\}|%%[A-Za-z_]\w*%%|\[\[[A-Za-z_][\w ]{0,40}\]\]"
    # at the start of a sentence, in brackets or before a colon; other sentences speak of them
    r"|(?m:^|[.!?:][\"')]*\s+)(?:TODO|TBD|FIXME|TBC)\b"
    r"(?!\s+(?:comments?|lists?|items?|apps?|marks?|notes?|tags?|entries|markers?)\b)"
    r"|[\[({<*_]\s*(?:TODO|TBD|FIXME|TBC)\s*[:\])}>*_]"
    r"|\b(?:TODO|TBD|FIXME|TBC)\s*:|\b(?:TBD|TBC)\b(?m:\W*$)"
    r"|\bXXX+\b|(?i:\blorem ipsum\b)|(?i:\breplace[ _]me\b|\bchangeme\b)"
    r"|(?i:[\[<](?!(?:phone number|e-mail address)(?: \d+)?\])(?:insert|your|enter|name of|company"
    r"|customer|product|first|last|agent|date|link|phone|e-?mail|address|placeholder)"
    r"(?:[ _-](?:(?!://)[^\]>\n@]){0,40})?[\]>](?!\(|\[|:\s*<?http))"  # a link is none
)
HTML = re.compile(
    r"(?i)</?(?:p|br|div|span|a|ul|ol|li|table|tbody|thead|tr|td|th|h[1-6]|b|i|u|em|strong|img|font|"
    r"blockquote|section|script|style)(?:\s+[a-z-]+\s*=\s*(?:\"[^\"]*\"|'[^']*'|[^\s>]+))*\s*/?>"
    r"|&(?:nbsp|amp|lt|gt|quot|apos|rsquo|lsquo|rdquo|ldquo|hellip|ndash|mdash|[aou]uml|szlig|"
    r"#\d{2,5}|#x[0-9a-f]{2,4});"
)
# Words that are an insult or obscene in nearly every use. A list this short misses much; it is for
# what slipped in, not for moderation.
TOXIC = re.compile(
    r"(?i)\b(?:fuck(?:s|ed|er|ers|ing)?|motherfuck\w*|shit(?:s|ty|head)?|bullshit|bitch(?:es)?|"
    r"cunts?|assholes?|arseholes?|dickheads?|wankers?|twats?|sluts?|whores?|niggers?|niggas?|"
    r"faggots?|kikes?|retards?|retarded|bastards?|arschl(?:och|öcher)|fotzen?|hurensöhne?|hurensohn|"
    r"wichser|schei(?:ß|ss)e|missgeburt|connards?|salopes?|enculés?|pendejos?|puta|cabr[oó]n|"
    r"stronz[oi]|vaffanculo)\b"
)


def placeholders(rows: Rows) -> Iterator[Found]:
    return _matching(rows, PLACEHOLDER)


def html(rows: Rows) -> Iterator[Found]:
    return _matching(rows, HTML)


def toxic(rows: Rows) -> Iterator[Found]:
    return _matching(rows, TOXIC)


def control_tokens(rows: Rows) -> Iterator[Found]:
    """Texts that spell a control token of the base. A run refuses a pair that holds one."""
    tokens = sorted(rows.around.control_tokens, key=len, reverse=True)
    if not tokens:
        raise NotChecked("the control tokens of the base model are not known here")
    pattern = re.compile("|".join(map(re.escape, tokens)))
    for pair, text in zip(rows.pairs, rows.texts, strict=True):
        if found := pattern.search(text):
            yield Found(pair.id, found.group())


def mojibake(rows: Rows) -> Iterator[Found]:
    """Texts that were read in the wrong encoding, such as `fÃ¼r`, and replacement characters."""
    try:
        from ftfy import fix_encoding
        from ftfy.badness import is_bad
    except ImportError as error:
        raise NotChecked(not_installed("ftfy")) from error
    for pair, text in zip(rows.pairs, rows.texts, strict=True):
        if text.isascii():
            continue
        if "\ufffd" in text:
            yield Found(pair.id, "holds the replacement character �")
        elif is_bad(text) and (better := fix_encoding(text)) != text:
            at = next((i for i, (a, b) in enumerate(zip(text, better, strict=False)) if a != b), 0)
            yield Found(pair.id, f"{short(text[at : at + 20])} is perhaps {better[at : at + 10]}")


def _matching(rows: Rows, pattern: re.Pattern[str]) -> Iterator[Found]:
    for pair, text in zip(rows.pairs, rows.prose, strict=True):
        if found := pattern.search(text):
            yield Found(pair.id, short(found.group()))
