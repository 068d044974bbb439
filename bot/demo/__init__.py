"""`understudy demo`: the whole loop on this machine, with the shipped model and domain.

- `client`: a small HTTP client for the demo: what `curl` or an OpenAI client would do
- `command`: `understudy demo`: the whole loop on this machine
- `rounds`: once round the loop without a person: `understudy demo --once`
- `show`: the demo for a person: questions side by side, the scores, and what to try next
- `stage`: sets the demo's stage: its folder and store, the processes, and the first adapter
"""
