"""Conversations: their messages and replies, and pairs of answers shown side by side.

- `conversations`: threads, messages, and replies with the adapter that wrote each
- `side_by_side`: two blinded answers to one question
- `stored_bytes`: how much is stored, by the kind of the people who asked
- `web_allowances`: how many questions an address may still ask in the web chat
"""
