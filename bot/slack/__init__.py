"""Slack as a front end: one Bolt app over Socket Mode or signed HTTP.

Where to look: `app.py` joins everything; `accept.py` decides, before Slack is acknowledged, whether
a delivery is new, and puts questions into the store's queue; `queue.py` takes them out again and
`answer.py` answers them through `bot.chat`; `again.py` has the buttons for a fresh answer and for
the rest of one; `stream.py` is the one place that knows how Slack's streams fail, `governor.py` how
often Slack may be called; `workspaces.py` keeps a desk for each workspace, and `oauth.py` lets more
of them install the bot; `feedback.py` takes thumbs, reasons and
corrections; `commands.py` parses `/understudy`, `deeds.py` does what it says; `follow.py` keeps the
messages that follow a tuning run; `blocks.py` builds every message.
"""
