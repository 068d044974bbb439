"""People on one side, serving on the other: Slack, HTTP, the web pages and the command line.

Nothing here loads torch or vLLM: a front end runs on a machine that has neither.

- `answering`: how a question becomes an answer, for every front end
- `commands`: what admins and reviewers can do, whichever front end they use
- `experiments`: how A/B comparisons are started, evaluated and decided
- `api`: the HTTP API
- `console`: the web pages
- `slack`: the Slack front end
- `cli`: the command line
- `demo`: `understudy demo`
- `runtime`: supervised processes, the listening socket, metrics, background loops
- `app`: builds one ASGI application from settings, store and engines
- `service`: the objects that every front end uses: settings, store and chat
"""
