"""Slack as a front end: one Bolt app over Socket Mode or signed HTTP.

- `app`: the Slack front end, joined in one place: `create(service)`, `start`, `stop`
- `client`: tODO map
- `commands`: tODO map
- `handlers`: tODO map
- `inbound`: tODO map
- `payloads`: what a delivery of Slack's says: who did what, where, and in which words
- `render`: tODO map
- `workspace`: tODO map
"""
