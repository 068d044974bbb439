"""The HTTP API: OpenAI-compatible routes and admin routes, with one module for each resource.

- `adapters`: `/v1/adapters`: list adapters, promote one, roll back
- `answer_sources`: what an answer rests on, as JSON
- `answers`: `POST /v1/chat/answers`: one answer, or two blinded answers to choose from
- `auth`: API keys by role, and browser sessions for the web chat
- `completion_request`: the fields that `POST /v1/chat/completions` accepts
- `completions`: `POST /v1/chat/completions`, compatible with OpenAI's API
- `cross_origin`: CORS: which other sites' pages may call the API from a browser
- `domain_field`: the `domain` field of requests
- `experiments`: `/v1/experiments`: start, ramp, read and stop comparisons
- `feedback`: `POST /v1/feedback`: ratings, reasons, corrections and preferences
- `health`: `/health` for orchestrators and load balancers, `/metrics` for Prometheus
- `inert_fields`: fields of other APIs that change nothing here, and so are accepted
- `middleware`: the outermost HTTP layer: ids, headers, paths, body limit, error responses
- `models`: `/v1/models`: the valid values of `model`
- `pairs`: `/v1/pairs`: list and review pairs
- `policies`: `/v1/policies`: automatic decisions about comparisons, and the holdout
- `privacy`: `/v1/people/me` and `/web/me`: the caller's own data: show, export, erase
- `problems`: the HTTP status and the OpenAI-compatible body of every error
- `rate_bounds`: how much an address and a key may ask and write in an hour
- `raters`: `/v1/voters`: quarantine and release raters
- `relay`: sends an answer while it is written, to a caller who may disconnect at any moment
- `request_body`: the limit of a body, and its compression with gzip
- `request_ids`: the caller's `X-Request-ID` and `traceparent`, or an id of ours
- `request_path`: a path without the prefix of a proxy, and without a slash at its end
- `runs`: `/v1/runs`: queue, read and cancel tuning runs
- `unanswered`: `/v1/unanswered`: the questions that the bot declined
- `status`: `/v1/status`: the state of every domain and engine, with alerts
"""
