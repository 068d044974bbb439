"""Feedback on answers: ratings, corrections, suggestions, and the raters whose ratings count.

- `feedback`: ratings, reasons and corrections; one current entry per person, reply and kind
- `feedback_summary`: the feedback of the last days, for the digest and the admins' Home tab
- `rater_anomalies`: statistical tests for raters whose ratings do not depend on the answers
- `raters`: the raters: quarantine for those whose ratings do not depend on the answers
- `rating_totals`: which ratings count, and their running totals
- `reactions`: the buttons and emoji under an answer; the latest active one is the person's thumb
- `suggestions`: questions with answers that people suggest, which become pending pairs
- `uncounted`: the ratings that do not count in a comparison, and why
- `unanswered`: the questions that the bot declined
"""
