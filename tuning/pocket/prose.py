"""Plain English prose: the language reference and docstrings that every Python installation carries.

This is the one part of the corpus that is not written here, so it differs between Python versions: a build repeats
byte for byte under one version of Python and one seed.
"""

import importlib
import inspect
import random
import re
from functools import cache
from pydoc_data.topics import topics

_MODULES = """argparse ast asyncio base64 calendar collections configparser contextlib csv dataclasses datetime decimal
difflib email enum fractions functools glob gzip heapq html http inspect io ipaddress itertools json logging mailbox
math operator os pathlib pickle platform pprint queue random re sched secrets shutil socket sqlite3 statistics string
subprocess tarfile tempfile textwrap threading time timeit tokenize typing unittest urllib.parse uuid weakref zipfile
""".split()


def _readable(text: str) -> bool:
    """Whether a paragraph is prose rather than a table, a grammar or code."""
    letters = sum(c.isalpha() or c == " " for c in text)
    return 60 < len(text) < 700 and letters > 0.88 * len(text) and text.isascii() and text[-1] in ".!?"


@cache
def paragraphs() -> tuple[str, ...]:
    """The readable paragraphs, in a fixed order, each on one line."""
    texts = [topics[name] for name in sorted(topics)]
    for name in _MODULES:
        module = importlib.import_module(name)
        members = [vars(module)[key] for key in sorted(vars(module)) if not key.startswith("_")]
        owned = [m for m in members if getattr(m, "__module__", None) == name and inspect.getdoc(m)]
        texts += [inspect.getdoc(item) or "" for item in [module, *owned]]
    found = (" ".join(part.split()) for text in texts for part in re.split(r"\n\s*\n", text))
    return tuple(dict.fromkeys(text for text in found if _readable(text)))


def passage(rng: random.Random, sentences: int) -> str:
    """A paragraph cut to at most so many sentences."""
    parts = re.split(r"(?<=[.!?]) ", rng.choice(paragraphs()))
    return " ".join(parts[:sentences])
