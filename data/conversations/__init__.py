"""Conversations: their messages and replies, and pairs of answers shown side by side.

- `conversations`: threads, messages, and replies with the adapter that wrote each
- `side_by_side`: two blinded answers to one question
"""
