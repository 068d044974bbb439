"""Answers that were cut off, that repeat themselves, or that hold stock phrases."""

import re
from collections import Counter
from collections.abc import Iterator
from itertools import groupby

from data.quality.findings import CODE, Found, Rows, short

ENDS = re.compile(r"(?:[.!?…:;)\]}>\"'`*_|~”’»。！？؟।]|\d|https?://\S+|\S+@\S+)\s*$")
LIST_ITEM = re.compile(r"^\s*(?:[-*•–+]|\d+[.)]|\|)\s*\S")
# a sentence cannot end with these words
DANGLING = re.compile(
    r"(?i)(?:,|\b(?:a|an|the|and|or|but|of|to|for|with|from|by|at|in|on|because|which|that|if|your|"
    r"der|die|das|und|oder|mit|von|zu|ein|eine|dass|weil|le|la|les|et|ou|de|el|los|y|que))\s*$"
)
CODE_END = 25  # characters at the end of a line that show code or a path
STYLE = 0.9  # share of answers that end like sentences, from which on the others are suspect
LEAST_WORDS = 6  # of an answer that is a sentence
LOOP_WORDS = 18  # of an answer that can repeat itself
DISTINCT = 0.55  # share of distinct three-word sequences below which it does
REPEATED = 3  # times that a sentence may not stand in a row, or in an answer that is mostly that
PART = 0.4  # of the words of such an answer; steps for several devices may each end alike
SENTENCE = re.compile(r"[^.!?\n]+[.!?]*")
STOCK = re.compile(
    r"(?i)\bas an? (?:AI|artificial intelligence|large)(?: language)? (?:model|assistant)\b|"
    r"\bI(?:'m| am) (?:just )?an? (?:AI|language model)\b|\bmy knowledge cut-?off\b|"
    r"\bI(?:'m| am) sorry,? but I (?:can(?:no|')t|am unable|am not able)\b|"
    r"^\s*(?:dear|hello|hi) (?:customer|sir|madam|user|valued)\b|"
    r"\b(?:best|kind|warm) regards\b|\byours (?:sincerely|faithfully)\b|\bsent from my \w+|"
    r"\bplease do not reply to this\b|"
    r"\bthis e-?mail (?:and|is)\b.{0,40}\b(?:attachments|confidential)\b|"
    r"\ball rights reserved\b|©|\bis there anything else I can help\b|"
    r"\bthank you for (?:contacting|reaching out|choosing)\b|\bhope this helps\b|"
    r"\bto unsubscribe,? (?:click|from)\b|"
    r"\bmit freundlichen grüßen\b|\bsehr geehrte[r]? (?:damen|kund)|\bcordialement\b",
    re.MULTILINE,
)
STOCK_SHARE = 0.02  # of the answers; a first or last sentence in more of them is a stock phrase
STOCK_LEAST = 20  # answers


def truncated(rows: Rows) -> Iterator[Found]:
    """Answers that end in the middle of a sentence or of a code block."""
    written = [pair.response for pair in rows.pairs if len(pair.response.split()) >= LEAST_WORDS]
    ended = sum(bool(ENDS.search(response)) for response in written)
    sentences = bool(written) and ended >= STYLE * len(written)
    for pair in rows.pairs:
        response = pair.response.rstrip()
        if response.count("```") % 2:
            yield Found(pair.id, "a code block is not closed")
            continue
        words = response.split()
        if len(words) < LEAST_WORDS or ENDS.search(response):
            continue
        last = response.rpartition("\n")[2]
        if "\n" in response and LIST_ITEM.match(last):
            continue
        if DANGLING.search(response) or (sentences and not _in_code(last)):
            yield Found(pair.id, f"ends with “{short(' '.join(words[-6:]))}”")


def looping(rows: Rows) -> Iterator[Found]:
    """Answers that say the same again and again."""
    for pair in rows.pairs:
        if len(pair.response) < 80:
            continue
        prose = CODE.sub(" ", pair.response) if "`" in pair.response else pair.response
        words = prose.casefold().split()
        if len(words) >= LOOP_WORDS:
            triples = list(zip(words, words[1:], words[2:], strict=False))
            if len(set(triples)) < DISTINCT * len(triples):
                yield Found(pair.id, f"repeats “{' '.join(_most_common(triples))}”")
                continue
        said = [s for found in SENTENCE.findall(prose) if len((s := found.strip()).split()) >= 4]
        top, times = max(Counter(said).items(), key=lambda one: one[1], default=("", 0))
        in_a_row = max((len(list(same)) for _, same in groupby(said)), default=0)
        if in_a_row >= REPEATED or (
            times >= REPEATED and times * len(top.split()) >= PART * len(words)
        ):
            yield Found(pair.id, f"repeats “{short(top)}”")


def boilerplate(rows: Rows) -> Iterator[Found]:
    """Answers with phrases of letters and assistants, or with a sentence that many others begin or
    end with. Golden answers count, too: they are what the bot is measured by."""
    first, last = Counter[str](), Counter[str]()
    edges: list[tuple[str, str]] = []
    answers = {pair.response: pair.fact for pair in rows.pairs}
    for response in answers:
        sentences = [s.strip() for s in SENTENCE.findall(response) if len(s.split()) >= 3]
        ends = (sentences[0], sentences[-1]) if len(sentences) >= 2 else ("", "")
        edges.append(ends)
        first[ends[0]] += 1
        last[ends[1]] += 1
    most = max(STOCK_LEAST, STOCK_SHARE * len(answers))
    shared = {
        response: next((s for s, n in ((one, first[one]), (two, last[two])) if s and n >= most), "")
        for response, (one, two) in zip(answers, edges, strict=True)
    }
    for pair in rows.pairs:
        if found := STOCK.search(pair.response):
            yield Found(pair.id, f"“{short(found.group().strip())}”")
        elif sentence := shared[pair.response]:
            yield Found(pair.id, f"many answers hold “{short(sentence)}”")


def _in_code(line: str) -> bool:
    """Whether a line looks like code or a path, which ends without a full stop."""
    return bool(re.search(r"[=(){}<>\\/|$]|--\w", line[-CODE_END:]) or line.startswith("    "))


def _most_common(triples: list[tuple[str, str, str]]) -> tuple[str, str, str]:
    return Counter(triples).most_common(1)[0][0]
