"""People on one side, serving on the other: Slack, HTTP, the web chat and the command line.

`chat.py` is the one flow of a message, `admin.py` the one way to every deed of an admin; the
front ends (`api/`, `slack/`, `console/`, `cli.py`) only translate. Nothing here loads torch or
vLLM: a front end runs on a machine that has neither.
"""
