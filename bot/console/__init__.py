"""The web pages: the chat, and how comparisons stand.

- `comparisons`: the page that shows how comparisons stand, to reviewers and admins
- `files`: the files of the pages, read once and served from memory, and those that all pages share
- `routes`: the routes of the web chat: the page's files, and what its script calls under `/web`
"""

from fastapi import APIRouter

from bot.console import comparisons, files
from bot.console.routes import router as chat

__all__ = ["chat", "pages"]

pages = APIRouter()  # those that are always there
pages.include_router(files.router)
pages.include_router(comparisons.router)
