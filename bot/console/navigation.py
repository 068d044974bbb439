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
    PageEntry("Pairs", "/console/domains/{domain}/pairs", "reviewer"),
    PageEntry("Review", "/console/domains/{domain}/review", "reviewer"),
    PageEntry("Unanswered", "/console/domains/{domain}/unanswered", "reviewer"),
    PageEntry("Conversations", "/console/domains/{domain}/conversations", "reviewer"),
    PageEntry("Tune", "/console/domains/{domain}/tune", "reviewer"),
    PageEntry("Versions", "/console/domains/{domain}/versions", "reviewer"),
    PageEntry("Comparisons", "/console/domains/{domain}/comparisons", "reviewer"),
    PageEntry("Triggers", "/console/domains/{domain}/triggers", "reviewer"),
    PageEntry("New domain", "/console/start", "admin"),
    PageEntry("People", "/console/people", "admin"),
    PageEntry("API keys", "/console/keys", "admin"),
    PageEntry("System", "/console/system", "admin"),
    PageEntry("Audit log", "/console/audit", "admin"),
)
