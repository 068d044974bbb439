"""People on one side, serving on the other: Slack, HTTP, the web pages and the command line.

Nothing here loads torch or vLLM: a front end runs on a machine that has neither.

- `answering`: the one flow of an answer, whichever front end asks
- `commands`: what admins and reviewers can do, whichever front end they use
- `experiments`: how A/B comparisons start, are evaluated and decided
- `api`: the HTTP API
- `console`: the web pages
- `slack`: the Slack front end
- `cli`: the command line
- `demo`: `understudy demo`
- `runtime`: supervised processes, the listening socket, metrics, background loops
- `app`: joins settings, store and engines into one ASGI application
- `service`: what every front end is given
"""
