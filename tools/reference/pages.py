"""The list of pages, and how one is put together from its template."""

from collections.abc import Callable
from pathlib import Path

from tools.reference import cli, http, settings, slack_commands

ROOT = Path(__file__).parents[2]
TEMPLATES = Path(__file__).parent / "templates"
MARK = "{{reference}}"
PAGES: dict[str, Callable[[], str]] = {  # the file in docs/, and what generates its reference part
    "settings.md": settings.reference,
    "http.md": http.reference,
    "cli.md": cli.reference,
    "slack-commands.md": slack_commands.reference,
}


def page(name: str) -> str:
    """The page as it should be now."""
    template = (TEMPLATES / name).read_text(encoding="utf-8")
    before, mark, after = template.partition(MARK)
    if not mark:
        raise ValueError(f"{TEMPLATES / name} has no mark {MARK}")
    return f"{before}{PAGES[name]().strip()}{after}"


def write(folder: Path = ROOT / "docs") -> list[Path]:
    """Write every page that is out of date; returns them."""
    written = []
    for name in PAGES:
        path, text = folder / name, page(name)
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            written.append(path)
    return written
