"""The web pages: the chat, and the results of comparisons.

- `comparisons`: the page with the results of comparisons, for reviewers and admins
- `files`: the pages' static files, read once and served from memory, and the shared ones
- `routes`: the routes of the web chat: its static files, and the calls of its script under `/web`
"""

from fastapi import APIRouter

from bot.console import comparisons, files
from bot.console.routes import router as chat

__all__ = ["chat", "pages"]

pages = APIRouter()  # the pages that no setting disables
pages.include_router(files.router)
pages.include_router(comparisons.router)
