"""`/understudy`: commands in Slack, on top of `bot/commands`.

- `dialect`: how people type commands in Slack
- `handlers`: handlers for `/understudy`, buttons and forms
- `delivery`: executes queued commands and delivers their results
- `forms`: opens forms: the menu, arguments, confirmations, the review
- `argument_forms`: forms for the arguments of a command
- `digest`: the daily message about pairs that wait for review
"""
