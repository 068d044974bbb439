"""Monitoring: what needs an operator's attention.

- `alerts`: the current alerts, for the terminal, Slack, HTTP and metrics
"""
