"""What an operator should look at.

- `alerts`: what somebody should look at, read from the store when they ask: one list for the
  terminal, for Slack, for HTTP and for metrics
"""
