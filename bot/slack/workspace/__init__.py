"""Each workspace that the bot is in: its context, roles, manifest and background work.

- `background_tasks`: keeps track of the tasks that run after an acknowledgement
- `context`: what the listeners of a workspace share: the store, Slack's API, messages to a person
- `manifest`: the Slack app manifest with exactly the scopes and events that the code uses
- `question_worker`: leases queued questions and has them answered
- `roles`: who may do what: the roles of the settings, of Slack, and those that admins have granted
- `trigger_dedup`: drops clicks and commands that arrive twice
- `upload`: uploads files and pictures
- `views`: opens and updates forms
- `workspaces`: the context of each workspace, found by the request that Slack sends
"""
