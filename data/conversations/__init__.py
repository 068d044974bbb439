"""Conversations, and two answers shown side by side.

- `conversations`: conversations, their messages, and replies: what was asked, what was answered, by
  which adapter
- `side_by_side`: pairings: two answers to one question, shown in random order without saying whose
  they are
"""
