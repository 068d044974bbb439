"""The console's pages, one module each, with its routes; the template has the same name.

- `account`: the signed-in person's sessions, and signing out
- `comparisons`: starting comparisons, how they stand, and what can be done about them
- `conversations`: what people asked and were answered
- `keys`: API keys
- `exports`: the pairs of a domain as a file
- `findings`: what the quality checks found, fixing it, and undoing that
- `golden`: the golden set of a domain
- `imports`: files of pairs: looking at one, importing it, and taking an import back
- `nothing`: addresses where there is no page
- `oidc`: signing in with an OpenID provider
- `overview`: the state of every domain, and what needs somebody's attention
- `pairs`: the pairs of a domain: search, filters, decisions on many, one pair, facts
- `personal_data`: what is stored about a person: export, opting out, forgetting
- `people`: who may use the console: invitations, roles, sessions
- `review`: reviewing pending pairs one by one
- `runs`: planning, starting and following a run, and its report
- `side_by_side`: asking two versions the same question
- `sign_in`: signing in with a link
- `start`: a first domain, from a file or from the example
- `static`: the scripts and styles
- `system`: engines, queue, disk, alerts, settings, backups, audit log
- `triggers`: when a domain retrains by itself
- `unanswered`: the questions that the bot declined
- `versions`: the versions of a domain: examinations, promote, roll back, retire, accept, compare
"""

from bot.console.pages import (
    account,
    comparisons,
    conversations,
    exports,
    findings,
    golden,
    imports,
    keys,
    nothing,
    oidc,
    overview,
    pairs,
    people,
    personal_data,
    review,
    runs,
    side_by_side,
    sign_in,
    start,
    static,
    system,
    triggers,
    unanswered,
    versions,
)
from bot.console.rendering import ConsoleRouter

router = ConsoleRouter()
for part in (
    static,
    sign_in,
    oidc,
    account,
    overview,
    people,
    personal_data,
    start,
    exports,
    findings,
    golden,
    imports,
    pairs,
    review,
    unanswered,
    runs,
    versions,
    comparisons,
    side_by_side,
    conversations,
    triggers,
    keys,
    system,
    nothing,  # last
):
    router.include_router(part.router)
