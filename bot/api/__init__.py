"""The HTTP API: OpenAI-compatible routes and the admin routes, one noun of `/v1` a file.

- `adapters`: `/v1/adapters`: what there is, and moving the live mark
- `answers`: `POST /v1/chat/answers`: an answer, or two blinded ones to choose from
- `auth`: who is asking over HTTP: API keys by role, and browser sessions for the page at `/`
- `completion_request`: what `POST /v1/chat/completions` accepts: an allow-list of OpenAI's fields
- `completions`: `POST /v1/chat/completions`: OpenAI's call, as one bare ASGI route
- `domain_field`: how requests name a domain
- `experiments`: `/v1/experiments`: start a comparison, widen it, see its results and decisions,
  stop it
- `feedback`: `POST /v1/feedback`: a thumb, a reason, a better answer, whether it helped, which of
  two is best
- `health`: `/health` for whoever decides on restarts and traffic, `/metrics` for Prometheus
- `middleware`: the outermost layer of HTTP: what holds for every request, whatever route answers it
- `models`: `/v1/models`: the names a caller may put into `model`
- `pairs`: `/v1/pairs`: what waits for review, and deciding on it
- `policies`: `/v1/policies`: what may be decided about comparisons without a person, and who is in
  none
- `privacy`: `/v1/people/me` and `/web/me`: what there is of who asks, to see, take along or forget
- `problems`: errors as HTTP: one status and one OpenAI-shaped body for everything that can go wrong
- `raters`: `/v1/voters`: whose votes do not count and why; admins quarantine and release
- `relay`: passing an answer on, as it is written, to a caller who may leave at any moment
- `runs`: `/v1/runs`: ask for a retrain, watch it, cancel it
- `status`: `/v1/status`: everything at a glance, with what somebody should look at
"""
