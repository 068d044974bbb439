"""How a question becomes an answer. Every front end uses this one flow.

- `admission`: a bounded queue in front of the engines that is fair between people
- `routing`: the adapter that answers a person (pinned, a variant, live or the bare base) and its
  fallbacks
- `grounding`: what an answer rests on, and whether there is one, decided from the search alone
- `reference_finder`: searches the approved pairs for a question
- `source_wording`: how the sources under an answer are described
- `again`: asks for another answer to the same question, or for the rest of one
- `small_talk`: greetings, thanks and goodbyes
- `chat`: the flow of one message, for every front end; it knows neither Slack nor HTTP
- `events`: what this flow yields: the start of an answer, its pieces and its end
- `beginning`: what is held back of an answer until it is clear that it is one
- `recorder`: records how answers end, in tasks that nobody cancels
- `circuit_breaker`: stops requests to a replica or adapter that has just failed, then probes it
- `plan`: everything in the store that decides one answer, read in one go
- `prompt`: a question and the prompt sent for it: system prompt, earlier turns, sampling
- `recording`: how the store records an answer: its start, its adapter and replica, its end
- `several`: several answers to one question
- `side_by_side`: two blinded answers to one question, for comparisons that ask for a preference
- `storage_bounds`: bounds for the stored texts of browsers and of API keys
- `task_answers`: titles, tags and the like, which chat programs ask for by themselves
- `tool_use`: the tools that a caller offers, and the calls of them in an answer
- `unanswered_groups`: the declined questions in groups of the same meaning
- `writing`: one answer being written: which engine writes it, and failover when that engine fails
"""
