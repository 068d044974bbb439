"""How pairs spread over facts, topics, sources and authors, and how many tokens a run learns."""

from collections import Counter
from collections.abc import Iterator, Sequence

from data.pairs.current_answers import is_named
from data.pairs.pairs import Pair
from data.quality.findings import Distribution, Found, NotChecked, Rows, short

TOO_MUCH = 0.5  # share of the pairs that one topic or author has
LEAST = 20  # pairs from which on a share says something
SHOWN = 12  # bars of a chart
FEW_TOKENS = 2  # of a response, with the token that ends it: nothing but one token is learned


def thin_facts(rows: Rows) -> Iterator[Found]:
    """Facts that one pair states. A bot that learned one phrasing often misses the others."""
    phrasings = Counter(pair.fact for pair in rows.pairs)
    for pair in rows.pairs:
        if phrasings[pair.fact] == 1 and pair.split != "golden":
            yield Found(pair.id, "the only phrasing of its fact")


def topic(pair: Pair) -> str:
    """The part of a named fact before its first colon, slash or dot; '' if the fact has no name."""
    if not is_named(pair):
        return ""
    for mark in (":", "/", "."):
        if mark in pair.fact:
            return pair.fact.split(mark, 1)[0]
    return ""


def imbalance(rows: Rows) -> Iterator[Found]:
    """One pair of each topic and author that has more than half of the pairs. What a bot learns
    most, it answers with most."""
    for name, values in (
        ("topic", [topic(pair) for pair in rows.pairs]),
        ("author", [pair.author for pair in rows.pairs]),
    ):
        counted = Counter(value for value in values if value)
        if len(counted) < 2 or counted.total() < LEAST:
            continue
        largest, n = counted.most_common(1)[0]
        if n > TOO_MUCH * counted.total():
            pair = rows.pairs[values.index(largest)]
            share = n / counted.total()
            yield Found(pair.id, f"{name} {largest} has {share:.0%} of the pairs that name one")


def too_long(rows: Rows) -> Iterator[Found]:
    """Pairs with more tokens than a run or the engine takes."""
    counted, most = rows.tokens, rows.around.max_tokens
    if not most:
        raise NotChecked("no limit of the engine's context is known")
    for pair, tokens in zip(rows.pairs, counted, strict=True):
        if tokens.total > most:
            yield Found(pair.id, f"{tokens.total:,} tokens, and at most {most:,} fit")


def refused_by_template(rows: Rows) -> Iterator[Found]:
    """Pairs that the chat template of the base raises an error for, such as two questions in a row.
    Where it refuses every pair of many, the fault is not theirs."""
    refused = [(pair, one.refused) for pair, one in zip(rows.pairs, rows.tokens, strict=True)]
    found = [Found(pair.id, short(why)) for pair, why in refused if why]
    if len(found) == len(rows.pairs) >= LEAST:
        raise NotChecked(f"the chat template of the base fails for every pair: {found[0].detail}")
    yield from found


def few_tokens(rows: Rows) -> Iterator[Found]:
    """Pairs from whose answer a run learns a single token."""
    for pair, tokens in zip(rows.pairs, rows.tokens, strict=True):
        if tokens.response <= FEW_TOKENS and not tokens.refused:
            yield Found(pair.id, f"{tokens.response - 1} token is learned: {pair.response[:20]}")


def distributions(rows: Rows) -> tuple[Distribution, ...]:
    """What the charts of a report show."""
    pairs = rows.pairs
    phrasings = Counter(Counter(pair.fact for pair in pairs).values())
    made = [
        _largest("Pairs by source", [pair.source for pair in pairs]),
        _largest("Pairs by author", [pair.author or "(not known)" for pair in pairs]),
        _largest("Pairs by topic", [topic(pair) or "(no topic)" for pair in pairs]),
        Distribution(
            "Facts by number of phrasings",
            tuple((str(n), phrasings[n]) for n in sorted(phrasings)[:SHOWN]),
        ),
    ]
    try:
        counted = [tokens.response for tokens in rows.tokens]
        made.append(_ranges("Tokens that a run learns from a pair", counted))
    except NotChecked:
        words = [len(pair.response.split()) for pair in pairs]
        made.append(_ranges("Words of an answer", words))
    return tuple(one for one in made if one.bars)


def _largest(title: str, values: Sequence[str]) -> Distribution:
    counted = Counter(values)
    shown = counted.most_common(SHOWN)
    rest = counted.total() - sum(n for _, n in shown)
    return Distribution(title, (*shown, *([("all others", rest)] if rest else [])))


def _ranges(title: str, values: Sequence[int]) -> Distribution:
    """Counts in ranges that double."""
    counted = Counter(max(0, value.bit_length() - 1) for value in values)
    if not counted:
        return Distribution(title, ())
    steps = range(min(counted), max(counted) + 1)
    return Distribution(
        title, tuple((f"{2**n if n else 0}–{2 ** (n + 1) - 1}", counted[n]) for n in steps)
    )
