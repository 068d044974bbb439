"""Slack as a front end: one Bolt app over Socket Mode or signed HTTP.

Where to look: `app.py` joins everything; `accept.py` decides, before Slack is acknowledged, whether
a delivery is new, and puts questions into the store's queue; `queue.py` takes them out again and
`answer.py` answers them through `bot.chat`; `again.py` has the buttons for a fresh answer and for
the rest of one; `stream.py` is the one place that knows how Slack's streams fail, `governor.py` how
often Slack may be called; `workspaces.py` keeps a desk for each workspace, and `oauth.py` lets more
of them install the bot; `feedback.py` takes thumbs, reasons and corrections.

`commands.py` parses `/understudy`; `deeds.py` takes commands, clicks and forms in, `effects.py`
does each in one transaction, `outbox.py` tells what it came to, also after a crash; `roles.py` says
who may. `forms.py` opens what `modals.py` builds; `review.py` lets reviewers decide, `digest.py`
reminds them; `run_message.py`, `follow.py` and `chart.py` show a run; `home.py` and `admin_home.py`
are the Home tab; `reports.py` says what is shown, `blocks.py` builds the parts of every message.
"""
