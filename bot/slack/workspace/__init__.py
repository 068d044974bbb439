"""Each workspace that the bot is in: its context, roles, manifest and background work.

- `background_tasks`: the work that goes on after Slack was acknowledged, so that none is lost or
  forgotten
- `context`: the desk that listeners work at: the store, Slack's API, and how a person is told
  something
- `manifest`: the Slack app manifest: exactly the scopes and events that the code uses, and no more
- `question_worker`: the worker that takes questions out of the store's queue and has them answered
- `roles`: who may do what: the roles of the settings, of Slack, and those that admins have granted
- `trigger_dedup`: clicks and commands of the last minutes, by trigger id
- `upload`: a file or a picture, put where people see it: a place for it is asked for, filled, and
  shown
- `views`: a form on somebody's screen: opened while its trigger lives, or changed where it is open
- `workspaces`: the workspaces that the bot is in: a desk for each, found by what Slack delivers
"""
