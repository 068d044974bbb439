"""The pages: the web chat, and how comparisons stand; their scripts, styles and routes.

Whoever reaches the chat may ask and judge, as `web:SESSION`; `[bot] web_chat = false` turns it
off. The page of the comparisons shows nothing without a key. No page has an inline script or
style, so the strict content policy of `bot/edge.py` holds.
"""

from fastapi import APIRouter

from bot.console import comparisons, files
from bot.console.routes import router as chat

__all__ = ["chat", "pages"]

pages = APIRouter()  # those that are always there
pages.include_router(files.router)
pages.include_router(comparisons.router)
