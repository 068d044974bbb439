"""The list of pages; renders each one from its template."""

from collections.abc import Callable
from pathlib import Path

from tools.reference import cli, http, openapi, settings, slack_commands

ROOT = Path(__file__).parents[2]
TEMPLATES = Path(__file__).parent / "templates"
MARK = "{{reference}}"
# The file in docs/ -> the function that generates its reference part.
PAGES: dict[str, Callable[[], str]] = {
    "settings.md": settings.reference,
    "http.md": http.reference,
    "cli.md": cli.reference,
    "slack-commands.md": slack_commands.reference,
    "openapi.json": openapi.reference,
}


def page(name: str) -> str:
    """The up-to-date content of a page. JSON needs no template."""
    if name.endswith(".json"):
        return PAGES[name]()
    template = (TEMPLATES / name).read_text(encoding="utf-8")
    before, mark, after = template.partition(MARK)
    if not mark:
        raise ValueError(f"{TEMPLATES / name} has no placeholder {MARK}")
    return f"{before}{PAGES[name]().strip()}{after}"


def write(folder: Path = ROOT / "docs") -> list[Path]:
    """Write every page that is out of date; returns their paths."""
    written = []
    for name in PAGES:
        path, text = folder / name, page(name)
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            written.append(path)
    return written
