"""Conversations: their messages and replies, and pairs of answers shown side by side.

- `answer_list`: answers by version, rating, confidence and text
- `conversations`: threads, messages, and replies with the adapter that wrote each
- `side_by_side`: two blinded answers to one question
- `stored_bytes`: how much people's texts take, by the kind of the people
- `web_allowances`: how much an address and a key may still ask and write in this hour
"""
