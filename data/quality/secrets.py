"""Finds keys, tokens and passwords, by the detectors of `detect-secrets` that know their form.

Its entropy detectors are left out: on prose and code they report ordinary words. So is the one for
IP addresses, which are no secrets.
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from data.quality.contact_data import Span
from data.quality.findings import NotChecked, not_installed

LEFT_OUT = frozenset({"Base64 High Entropy String", "Hex High Entropy String", "Public IP (ipv4)"})
PRIVATE_KEY = re.compile(
    r"-----BEGIN (?:[A-Z0-9 ]+ )?PRIVATE KEY-----.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|\Z)",
    re.DOTALL,
)
# `password: hunter2`, `api_key = "..."`. A form of speech ("your password: the one you chose")
# has no digit or symbol in it.
ASSIGNED = re.compile(
    r"(?i)\b(?:password|passwort|passwd|pwd|passphrase|api[_ -]?key|secret[_ -]?key|"
    r"client[_ -]?secret|access[_ -]?token|auth[_ -]?token)\b[\"']?\s*"
    r"(?:is\s+|ist\s+|[:=]\s*)[\"'`]?"
    r"(?P<value>(?=[^\s\"'`,;]*\d)(?=[^\s\"'`,;]*[A-Za-z])[^\s\"'`,;]{6,128}(?<![.!?:)]))"
)


def find(text: str) -> list[Span]:
    """The secrets in a text, without overlaps. Raises NotChecked if detect-secrets is missing."""
    spans = sorted(set(_spans(text)), key=lambda span: (span.start, -span.end))
    kept: list[Span] = []
    for span in spans:
        if not kept or span.start >= kept[-1].end:
            kept.append(span)
    return kept


def _spans(text: str) -> Iterator[Span]:
    for found in PRIVATE_KEY.finditer(text):
        yield Span("secret", *found.span())
    for found in ASSIGNED.finditer(text):
        yield Span("secret", *found.span("value"))
    for pattern in _patterns():
        for found in pattern.finditer(text):
            if found.group().strip():
                yield Span("secret", *found.span())


@lru_cache
def _patterns() -> tuple[re.Pattern[str], ...]:
    try:
        from detect_secrets.core.plugins.util import get_mapping_from_secret_type_to_class
        from detect_secrets.plugins.base import RegexBasedDetector
    except ImportError as error:
        raise NotChecked(not_installed("detect-secrets")) from error
    detectors: dict[str, Any] = get_mapping_from_secret_type_to_class()
    return tuple(
        pattern
        for kind, detector in detectors.items()
        if kind not in LEFT_OUT and issubclass(detector, RegexBasedDetector)
        for pattern in detector.denylist
    )
