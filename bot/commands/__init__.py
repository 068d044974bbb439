"""What admins and reviewers can do, independent of the front end.

- `admin`: what admins and reviewers do, once for every front end: review, retrain, promote, roll
  back, compare
- `commands`: what can be done from Slack: each command a frozen dataclass that knows the role it
  needs
- `grammar`: `/understudy …`: what was typed, as a command
- `retrain_plan`: what a retrain would do, worked out without doing it: the dry run of Slack and the
  terminal
- `roles`: who may give which command, the same check for every front end
- `scores`: an adapter's scores in words, the same in Slack, in the terminal and in the demo
- `standing`: who somebody is to the bot: their role, where it comes from, and why they may do
  nothing
"""
