"""The one flow of an answer, whichever front end asks.

- `admission`: who may ask an engine now, and who waits: bounded and fair between people
- `assignment`: who answers a person: a pinned adapter, the variant of a running comparison, the
  live adapter, or the bare base; and who stands in, when that one cannot
- `chat`: the one flow of a message, for every front end; it knows neither Slack nor HTTP
- `circuit_breaker`: the circuit breaker: what has just failed is left alone for a while, then tried
  with one request
- `plan`: what the store knows that decides an answer, read at once
- `prompt`: a question, and what the model is sent for it: system prompt, earlier turns, sampling
- `recording`: what the store keeps of an answer: that it was begun, who writes it, how it ended
- `side_by_side`: two blinded answers to one question, in a comparison that asks for them now and
  then
- `writing`: one answer on its way from the engines: who writes it, and who goes on when that one
  fails
"""
