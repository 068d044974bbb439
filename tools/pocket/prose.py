"""Real English from the Python documentation, as prose and as questions with answers.

The language reference and the docstrings of the standard library are a few hundred kilobytes of
plain technical English. This part of the corpus differs between Python versions, so a build is
reproducible byte for byte only with the same version of Python and the same seed.
"""

import importlib
import inspect
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pydoc_data.topics import topics

from tools.pocket.phrasing import capital, expand


def _words(text: str) -> list[str]:
    """The words of a list that spans several lines."""
    return text.split()


_MODULES = _words(
    """
    abc argparse array ast asyncio atexit base64 bdb bisect builtins bz2 calendar cmath cmd code
    codecs collections colorsys concurrent.futures configparser contextlib copy csv dataclasses
    datetime decimal difflib dis doctest email.message enum errno filecmp fileinput fnmatch
    fractions ftplib functools gc getpass gettext glob graphlib gzip hashlib heapq hmac html
    html.parser http.client http.cookiejar http.server imaplib importlib.metadata
    importlib.resources importlib.util inspect io ipaddress itertools json linecache locale
    logging logging.config logging.handlers lzma mailbox math mimetypes mmap multiprocessing.pool
    netrc numbers operator optparse os pathlib pdb pickle pickletools pkgutil platform plistlib
    poplib pprint profile pstats pydoc queue random re runpy sched secrets selectors shelve shlex
    shutil signal site smtplib socket socketserver sqlite3 ssl stat statistics string struct
    subprocess symtable sys sysconfig tarfile tempfile textwrap threading time timeit token
    tokenize trace traceback tracemalloc types unittest unittest.mock urllib.parse urllib.request
    urllib.robotparser uuid venv warnings wave weakref wsgiref.simple_server xml.dom.minidom
    xml.etree.ElementTree xmlrpc.client zipapp zipfile zlib
    """
)

_NAME_FRAMES = [
    "[What does|What exactly does] {name} do?",
    "[What is|What's] {name}[ for| good for|]?",
    "[explain|describe|tell me about|why use|] {name}[?|]",
    "[When|Why] [do I|would I|should I] [use|need] {name}?",
]
_DO_FRAMES = [
    "[How do I|How can I|How to|How would I|I want to|I need to|Can I|Is there a way to] {do}?",
    "[what do I use to|which function can|what will|how to|] {do}[?|]",
]
_WORD_FRAMES = [
    "{words}[|?| how| explained| help| meaning]",
    "[how about|what about|tell me about|explain|something about|and|] {words}[?|]",
    "[What happens with|What is said about|What do you know about|What can I do with] {words}?",
    "[I have a question about|I am looking for|I need help with] {words}.",
]
_VERBS = _words(
    """
    add append apply build calculate call cast change check clear close compare compute convert
    copy create decode delete display encode enter export feed find format get handle import
    insert iterate join list load lock look make move open parse print put read register remove
    rename replace reset retrieve run save search send set show split start stop store strip test
    try update wait wrap write
    """
)
_SMALL = _words(
    """
    a all also an and any are as at be by can each for from has have if in into is it its may must
    no not of on one only or other should such than that the then this to was were when which will
    with
    """
)


def _is_prose(text: str) -> bool:
    """Whether a text is English prose and not a table, a grammar or code."""
    letters = sum(c.isalpha() or c == " " for c in text)
    ended = text[-1] in ".!?" and "XXX" not in text
    return letters > 0.88 * len(text) and text.isascii() and ended


def _documentation() -> Iterator[tuple[str, str]]:
    """The documented names of the modules with their documentation, in a fixed order."""
    for name in _MODULES:
        module = importlib.import_module(name)
        members = {key: value for key, value in sorted(vars(module).items()) if key[0] != "_"}
        documented: list[tuple[str, object]] = [(name, module)]
        for key, value in members.items():
            if getattr(value, "__module__", None) == name:
                documented.append((f"{name}.{key}", value))
                if inspect.isclass(value):
                    methods = sorted((k, v) for k, v in vars(value).items() if k[0] != "_")
                    documented += [(f"{key}.{k}", v) for k, v in methods if callable(v)]
        for label, item in documented:
            text = inspect.getdoc(item)
            if text:
                yield label, text


@cache
def paragraphs() -> tuple[str, ...]:
    """The paragraphs that are prose, each on one line."""
    texts = [topics[name] for name in sorted(topics)] + [text for _, text in _documentation()]
    found = (" ".join(part.split()) for text in texts for part in re.split(r"\n\s*\n", text))
    return tuple(dict.fromkeys(t for t in found if 60 < len(t) < 700 and _is_prose(t)))


def passage(rng: random.Random, sentences: int) -> str:
    """A paragraph, shortened to a maximum number of sentences."""
    parts = re.split(r"(?<=[.!?]) ", rng.choice(paragraphs()))
    return " ".join(parts[:sentences])


@dataclass(frozen=True)
class ProseExplained:
    """A sentence of the documentation, as the answer to many questions."""

    name: str
    answer: str

    def ask(self, rng: random.Random) -> str:
        """A question that uses the name, the purpose, or some words of the documentation."""
        draw = rng.random()
        if draw < 0.3 and self.name:
            text = expand(rng, rng.choice(_NAME_FRAMES), {"name": self.name})
        elif draw < 0.5 and self.answer.split()[0].lower() in _VERBS:
            do = self.answer[0].lower() + self.answer[1:].rstrip(".")
            text = expand(rng, rng.choice(_DO_FRAMES), {"do": do})
        else:
            text = expand(rng, rng.choice(_WORD_FRAMES), {"words": self._words(rng)})
        return capital(text.strip()) if rng.random() < 0.6 else text.strip()

    def _words(self, rng: random.Random) -> str:
        words = self.answer.rstrip(".").split()
        if rng.random() < 0.4:
            length = rng.randint(3, 5)
            first = rng.randrange(max(1, len(words) - length))
            return " ".join(words[first : first + length]).lower()
        telling = [word.strip(",.;:()").lower() for word in words if word.lower() not in _SMALL]
        picked = sorted(rng.sample(range(len(telling)), min(len(telling), rng.randint(2, 4))))
        if rng.random() < 0.3:
            rng.shuffle(picked)
        return " ".join(telling[i] for i in picked)


@cache
def explained() -> tuple[ProseExplained, ...]:
    """Every documented name with its first sentence, and single sentences of the reference."""
    found: dict[str, str] = {}
    for name, text in _documentation():
        sentence = re.split(r"(?<=[.!?]) (?=[A-Z])", " ".join(text.split("\n\n")[0].split()))[0]
        found.setdefault(sentence, name)
    for paragraph in paragraphs():
        for sentence in re.split(r"(?<=[.!?]) (?=[A-Z])", paragraph)[:2]:
            found.setdefault(sentence, "")
    return tuple(
        ProseExplained(name, sentence)
        for sentence, name in found.items()
        if 5 <= len(sentence.split()) <= 32 and sentence[0].isupper() and _is_prose(sentence)
    )
