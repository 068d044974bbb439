"""Calling Slack's Web API: rate limits, streamed messages, user names, stored tokens.

- `clock`: the clock of the rate limits and the daily digest
- `rate_limiter`: limits the calls of each Web API method to what Slack allows
- `stream`: writes one answer into a Slack thread, streamed if possible
- `token_encryption`: encrypts the workspaces' tokens in the store
- `user_names`: users' names and status from Slack, cached
- `web_api`: calls to Slack's Web API, and the meaning of their errors
"""
