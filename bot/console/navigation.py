"""The console's navigation: one entry for each page. A page that is added gets a line here."""

from dataclasses import dataclass

from data.people.roles import Role


@dataclass(frozen=True)
class PageEntry:
    """A page in the navigation."""

    title: str
    path: str  # with `{domain}` for a page about one domain
    role: Role  # that sees it


ENTRIES = (
    PageEntry("Overview", "/console", "member"),
    PageEntry("Versions", "/console/domains/{domain}/versions", "reviewer"),
    PageEntry("People", "/console/people", "admin"),
)
