"""Serving: adapters in, tokens out. Supervises vLLM and keeps it in step with the registry.

This package imports `data` and nothing else of the project.

- `client`: asks an engine for an answer; what the bot imports, without torch or vLLM
- `serve`: `understudy serve`, where the parts are joined
- `engine`: one vLLM engine: command line, process, files, capacity
- `adapters`: loading, checking and deleting adapters
- `fleet`: replicas, reconciling, rolling restarts, sleep
- `lock`: one `understudy serve` for each home folder
"""
