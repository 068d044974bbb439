"""`understudy demo`: a complete example on this machine, with the built-in model and domain.

- `client`: a small HTTP client that sends the same requests as `curl` or an OpenAI client
- `command`: the command `understudy demo`
- `rounds`: the whole loop without a person: `understudy demo --once`
- `show`: the demo for a person: answers side by side, the scores, and what to try next
- `stage`: prepares the demo: its folder and store, the processes, and the first adapter
"""
