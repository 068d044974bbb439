"""How deliveries come in: signed HTTP, OAuth, and ingesting each one once.

- `http`: `POST /slack/events`: Slack's signed requests, checked before anything reads them
- `ingest`: which deliveries are work for us, decided before Slack is acknowledged
- `oauth`: how a workspace installs the bot: Slack's OAuth page, and the way back
- `thread`: a thread of people as a question, its answer and what was said before: for teaching
"""
