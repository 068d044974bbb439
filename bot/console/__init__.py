"""The web pages: the chat and the console.

The console is rendered on the server. A page of it is a module in `pages` and a template in
`templates`; every action is a form that works without scripts, and calls what the command line and
Slack call.

- `access`: who is signed in to the console, and whether a form comes from its own pages
- `background_backup`: a backup that is written while people go on
- `entered_words`: the words of a pair as a form sends them
- `files`: the pages' static files, read once and served from memory, and the shared ones
- `navigation`: the entries of the console's navigation
- `pair_filter`: the filter of a list of pairs, in addresses and forms
- `pair_history`: what happened to a pair, in words
- `openid`: signing in with an OpenID provider: the code flow with PKCE
- `pages`: the console's pages
- `quality_checks`: checks of pairs that run in the background
- `rendering`: how the console's pages are made: templates, messages after a form, errors
- `result_chart`: draws the results of a comparison
- `routes`: the routes of the web chat: its static files, and the calls of its script under `/web`
- `shown`: how pages show times, numbers and people
- `uploads`: files of pairs that somebody uploads
"""

from fastapi import APIRouter

from bot.console import files
from bot.console.pages import router as console_pages
from bot.console.routes import router as chat

__all__ = ["chat", "pages"]

pages = APIRouter()  # the pages that no setting disables
pages.include_router(files.router)
pages.include_router(console_pages)
