"""The files that the console's pages load: their size, and that vendored ones are whole."""

import gzip
import hashlib
import re
from pathlib import Path

import httpx

from tests.bot.conftest import Bot
from tests.bot.console.signed_in import client

ROOT = Path(__file__).parents[3]
STATIC = ROOT / "bot/console/static"
MAX_HTMX = 20_000  # bytes, compressed
MAX_FIRST_LOAD = 60_000


def test_vendored_files_are_those_that_their_readme_names() -> None:
    for folder, name in ((STATIC, "htmx.min.js"), (ROOT / "tests/axe", "axe.min.js")):
        digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        assert digest in (folder / "README.md").read_text(encoding="utf-8"), name
    assert len(gzip.compress((STATIC / "htmx.min.js").read_bytes())) <= MAX_HTMX
    assert "BSD" in (STATIC / "htmx.LICENSE").read_text(encoding="utf-8")


def test_the_first_load_is_small(bot: Bot) -> None:
    page = client(bot).get("/console")
    loaded = re.findall(r'(?:src|href)="(/(?:console/static|web)/[^"]+)"', page.text)
    assert len(loaded) >= 5

    sizes = {path: transferred(bot, path) for path in loaded}

    assert sum(sizes.values()) + len(page.content) <= MAX_FIRST_LOAD, sizes


def transferred(bot: Bot, path: str) -> int:
    with bot.http() as http, http.stream("GET", path) as response:
        assert response.headers["content-encoding"] == "gzip"
        return sum(len(part) for part in response.iter_raw())


def test_a_file_is_cached_by_content_in_each_encoding(bot: Bot) -> None:
    path = "/console/static/console.css"
    plain = bot.http().get(path, headers={"Accept-Encoding": "identity"})
    packed = bot.http().get(path)

    assert plain.headers["etag"] != packed.headers["etag"]
    assert plain.text == packed.text
    again = bot.http().get(path, headers={"If-None-Match": packed.headers["etag"]})
    assert again.status_code == 304


def test_an_unknown_file_is_not_found(bot: Bot) -> None:
    assert isinstance(bot.http(), httpx.Client)
    assert bot.http().get("/console/static/README.md").status_code == 404


def test_scripts_of_pages_cannot_be_evaluated_from_text(bot: Bot) -> None:
    page = client(bot).get("/console")

    assert '"allowEval": false' in page.text
    policy = page.headers["content-security-policy"]
    assert "script-src 'self';" in policy
    assert "form-action 'self'" in policy
