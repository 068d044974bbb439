"""Slack as a front end: one Bolt app over Socket Mode or signed HTTP.

- `app`: joins the parts: `create(service)`, `start`, `stop`
- `inbound`: signed HTTP requests, OAuth, and ingesting each delivery once
- `payloads`: reads who did what, where and in which words from a delivery
- `workspace`: the context of each workspace that installed the bot, its roles and its workers
- `handlers`: questions, feedback, teaching, review, privacy and the Home tab
- `commands`: `/understudy` commands: forms, queueing and delivering results
- `render`: messages, forms, reports and charts, built by pure functions
- `client`: calls to Slack's Web API: rate limits, streamed messages, user names
"""
