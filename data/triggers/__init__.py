"""Triggers: when a domain retrains by itself.

A worker looks every half minute whether a trigger of a domain has fired, and queues a run unless
something holds it back: an open run, quiet hours, a cool-down, or the budget of the week. What may
be done with the adapter afterwards is a rule, too (`bot/experiments/rollout.py`).

- `rules`: the triggers of a domain and their limits: reading, setting and describing them
- `schedule`: the times of a cron expression in a time zone, and quiet hours
- `rating_change`: whether the mean rating has fallen: a test that may be looked at any time
- `declined_topics`: how many declined questions ask about one topic
- `due`: which triggers have fired, what would be trained, and what holds it back
- `firing`: queues the run of a trigger, once for each occasion
"""
