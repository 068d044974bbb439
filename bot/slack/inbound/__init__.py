"""Requests from Slack: signed HTTP, OAuth, and ingesting each event exactly once.

- `http`: `POST /slack/events`: verifies Slack's signed requests
- `ingest`: ingests each event exactly once, before it is acknowledged
- `oauth`: installs the bot in a workspace through Slack's OAuth page
- `permission`: who may do anything at all, checked once for every delivery
- `thread`: reads a thread as a question, its answer and earlier turns, for teaching
"""
