"""Pairs in another language than the others, by `py3langid`, where it is installed."""

import re
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from data.quality.findings import CODE, Found, NotChecked, Rows, not_installed

# The identifier knows 97 languages and takes short texts for rare ones, so only these are asked.
ASKED = (
    "ar", "bg", "cs", "da", "de", "el", "en", "es", "et", "fa", "fi", "fr", "he", "hi", "hr", "hu",
    "id", "it", "ja", "ko", "lt", "lv", "nl", "no", "pl", "pt", "ro", "ru", "sk", "sl", "sr", "sv",
    "th", "tr", "uk", "vi", "zh",
)  # fmt: skip
LETTERS = 40  # of a text that says which language it is in
SURE = 0.95  # probability
MAIN = 0.75  # share of the pairs that one language has where a domain has one language
NO_PROSE = re.compile(r"https?://\S+|\S+@\S+|\b\w+[._/\\(][\w.()/\\]*|[<>{}=$].*|[A-Z_]{2,}|\d+")


def wrong_language(rows: Rows) -> Iterator[Found]:
    """Pairs that are surely in another language than most of the domain."""
    identify = _identifier()
    seen: dict[int, tuple[str, float]] = {}
    for pair, text in zip(rows.pairs, rows.prose, strict=True):
        for words in (CODE.sub(" ", pair.response), text):  # a short answer says too little
            prose = NO_PROSE.sub(" ", words)
            if sum(map(str.isalpha, prose)) >= LETTERS:
                seen[pair.id] = identify(prose)
                break
    if not seen:
        return
    languages = Counter(language for language, _ in seen.values())
    main, most = languages.most_common(1)[0]
    if most < MAIN * len(seen):
        shares = ", ".join(f"{name} {n / len(seen):.0%}" for name, n in languages.most_common(4))
        raise NotChecked(f"the pairs have no main language ({shares})")
    for pair_id, (language, sure) in seen.items():
        if language != main and sure >= SURE:
            yield Found(pair_id, f"{language}, where most pairs are {main}")


@lru_cache
def _identifier() -> Any:
    try:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier
    except ImportError as error:
        raise NotChecked(not_installed("py3langid")) from error
    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages(list(ASKED))
    return identifier.classify
