"""Whether a base model suits the language of a domain's pairs, by its tokenizer alone.

A tokenizer has whole words of the languages that its model was trained on, and splits those of
other languages into pieces. Measured on the shipped reading examples of 25 organisations in English
and 5 in German, French, Italian and Spanish, in tokens for each plain word:

    base                English         the other four languages
    pocket              1.31 to 1.66    2.92 to 3.43
    SmolLM2-135M        1.02 to 1.12    1.97 to 2.22

Both know English alone. Scripts without spaces are not judged. This costs some 20 ms and no
PyTorch. A run measures more: the loss of the base on the answers stands in its report, and the gate
rejects answers with broken characters.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from sqlite_utils import Database

from data.adapters import files
from data.config.settings import Settings
from data.search.word_search import UNSPACED
from data.store.db import rows
from data.store.errors import Unavailable

MOST = 1.9  # tokens for a word of a language that the base knows
PAIRS = 200  # in the sample
WORDS = 3000
FEWEST = 50  # words with which the check says something
CODE = re.compile(r"`[^`]*`")
PLAIN_WORD = re.compile(r"(?<![\w`./@:=-])[^\W\d_]{3,}(?![\w`./@=-])")  # no command, no name.name


@dataclass(frozen=True)
class LanguageFit:
    """How many tokens a base model needs for a word of some pairs."""

    base: str  # its name
    words: int
    tokens_per_word: float

    @property
    def suits(self) -> bool:
        return self.tokens_per_word <= MOST

    def sentence(self, domain: str) -> str:
        """What was measured, and what to do if the base does not suit."""
        found = (
            f"The base model {self.base} needs {self.tokens_per_word:.1f} tokens for a word of "
            f"{domain}'s pairs"
        )
        if self.suits:
            return f"{found}, as for a language that it knows."
        return (
            f"{found}; for a language that it knows, it is at most {MOST:g}. Its answers will "
            "probably have errors or broken characters. Take a base model that was trained on the "
            "pairs' language (`understudy base add`, then [base] model), such as a multilingual "
            'one, or quote approved answers ([answers] mode = "quote").'
        )


def of_domain(db: Database, domain_id: int, settings: Settings) -> LanguageFit | None:
    """Whether the base of the settings suits the domain's approved pairs. None: the domain has too
    few words, or the tokenizer is not on this machine."""
    found = rows(
        db,
        "SELECT prompt, response FROM pairs WHERE domain_id = ? AND status = 'approved' "
        "ORDER BY id * 2654435761 % 4294967296 LIMIT ?",
        [domain_id, PAIRS],
    )
    return measure([text for r in found for text in (r["response"], r["prompt"])], settings)


def measure(texts: Sequence[str], settings: Settings) -> LanguageFit | None:
    """The same for some texts."""
    words = [
        word
        for text in texts
        for word in PLAIN_WORD.findall(CODE.sub(" ", text))
        if not UNSPACED.search(word)
    ][:WORDS]
    if len(words) < FEWEST:
        return None
    try:
        file = files.base_folder(settings.base.path) / "tokenizer.json"
    except Unavailable:
        return None
    if not file.is_file():
        return None
    from tokenizers import Tokenizer  # not every process needs it

    tokenizer = Tokenizer.from_file(str(file))
    encoded = tokenizer.encode_batch([f" {word}" for word in words], add_special_tokens=False)
    tokens = sum(len(one.ids) for one in encoded)
    return LanguageFit(settings.base.model, len(words), tokens / len(words))
