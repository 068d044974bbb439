"""What people think of answers: ratings, corrections, suggestions, and whose ratings count.

- `feedback`: feedback: one live judgement per person, reply and kind; earlier ones stay as history
- `feedback_summary`: what people thought in the last days, for the digest and the admins' Home tab
- `rater_anomalies`: odd votes: the tests that tell a person who votes about the answers from one
  who does not
- `raters`: voters: who is quarantined because they vote in a way that says nothing about the
  answers
- `rating_totals`: votes that count, and the sums that are kept of them
- `reactions`: marks: the buttons and emoji under an answer, of which the newest that stands is the
  thumb
- `suggestions`: what people teach of their own accord: a question with its answer becomes a pending
  pair
"""
