"""Calling Slack's Web API: rate limits, streamed messages, user names, stored tokens.

- `clock`: the time that Slack's limits and the daily digest are kept by
- `rate_limiter`: how many calls of each method Slack will take, and who may make the next one
- `stream`: one answer on its way into a Slack thread: streamed where Slack lets us, whole otherwise
- `token_encryption`: encrypts the tokens of workspaces: who reads the store or a backup of it
  cannot use them
- `user_names`: who people are: their names, and what Slack says of their standing, asked once in a
  while
- `web_api`: calls to Slack's Web API: two clients over one session, and what a failure means
"""
