"""Adapters to tokens: supervises vLLM, makes it hold what the registry says, asks it for answers.

`serve.py` joins the parts into `understudy serve`: `fleet.py` has the replicas, each an engine
(`engine.py` starts and restarts vLLM, `watched.py` looks at somebody else's) that `replica.py` and
`keeper.py` keep in step with the registry by way of `adapters.py`; `rolling.py` restarts them.
`client.py` is what the bot imports: it needs neither torch nor vLLM. This package
imports `data` and nothing else of ours.
"""
