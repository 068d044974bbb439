"""What happens when a member asks, clicks, reacts or opens the Home tab.

- `admin_home`: what reviewers and admins see on their Home tab, below what everybody sees: how
  things stand, what runs, what people thought this week, the answers they liked least, and the
  engines
- `answer`: a question of the queue, answered in Slack: the status while it waits, the stream, what
  is said at its end
- `feedback`: what people think of an answer: the two buttons, the form behind 👎, what 👍 offers,
  emoji
- `home`: the Home tab: what the bot knows, what became of a person's feedback, and their controls
- `members`: the listeners for what members see and control: feedback, teaching, the Home tab, their
  data
- `preference_buttons`: two blinded answers to one question, in one message, and the buttons to say
  which is better
- `privacy`: what people decide about their data in Slack: see it, take it along, have it forgotten,
  be learned from or not
- `recent_questions`: a person's recent questions on the Home tab, and whether the answers helped
- `regenerate`: the two buttons under an answer: Regenerate, for a fresh one, and Continue, for the
  rest of one that was cut at its length
- `review`: review from Slack: a form with a pending pair, and what a reviewer decides about it
- `run_follower`: keeps the Slack messages that follow a tuning run up to date, until they show its
  end
- `teach`: teaching: "Teach this" on any message, and "Teach more" below an answer that was liked
"""
