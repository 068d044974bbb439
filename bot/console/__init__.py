"""The web chat: one page, its script, style and icon, and the few routes that they call.

Whoever reaches the page may ask and judge, as `web:SESSION`; `[bot] web_chat = false` turns it
off. The files are read once and served from memory; the page has no inline script or
style, so the strict content policy of `bot/edge.py` holds.
"""

from bot.console.routes import router

__all__ = ["router"]
