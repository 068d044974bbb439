"""Slack as a front end: one Bolt app over Socket Mode or signed HTTP.

Where to look: `app.py` joins everything; `accept.py` decides, before any work, whether a delivery
is new; `messages.py` decides what is a question for us and `answer.py` answers it through
`bot.chat`; `stream.py` is the one place that knows how Slack's streams fail; `feedback.py` takes
thumbs, reasons and corrections; `commands.py` parses `/understudy`, `deeds.py` does what it says;
`follow.py` keeps the messages that follow a tuning run; `blocks.py` builds every message.
"""
