"""The console's pages, one module each, with its routes; the template has the same name.

- `account`: the signed-in person's sessions, and signing out
- `nothing`: addresses where there is no page
- `overview`: the state of every domain, and what needs somebody's attention
- `people`: who may use the console: invitations, roles, sessions
- `sign_in`: signing in with a link
- `static`: the scripts and styles
- `versions`: the versions of a domain: examinations, promote, roll back, retire, accept
"""

from bot.console.pages import account, nothing, overview, people, sign_in, static, versions
from bot.console.rendering import ConsoleRouter

router = ConsoleRouter()
for part in (static, sign_in, account, overview, versions, people, nothing):
    router.include_router(part.router)
