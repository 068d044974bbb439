"""Search: the approved pairs that bear on a question, best first.

Golden questions are never found: they measure what the bot knows.

- `search`: finds pairs for a question; the one way in
- `layout`: how references stand in a prompt
- `word_search`: finds pairs that share words with a question, by FTS5
"""
