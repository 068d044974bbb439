"""Adapters to tokens: supervises vLLM, makes it hold what the registry says, asks it for answers.

`engine.py` starts and restarts vLLM, `adapters.py` loads and unloads adapters, `serve.py` joins
the two into `understudy serve`, and `client.py` is what the bot imports: it needs neither torch
nor vLLM. This package imports `data` and nothing else of ours.
"""
