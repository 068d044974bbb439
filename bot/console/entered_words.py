"""The words of a pair as a form sends them."""

from typing import Annotated

from fastapi import Form
from pydantic import BeforeValidator

from data.pairs.pairs import MAX_CHARS


def _with_plain_ends(text: object) -> object:
    """Browsers send each line end as two characters and count it as one."""
    return text.replace("\r\n", "\n") if isinstance(text, str) else text


Words = Annotated[str, BeforeValidator(_with_plain_ends), Form(max_length=MAX_CHARS)]
