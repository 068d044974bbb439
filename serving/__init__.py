"""Serving: adapters in, tokens out. Supervises vLLM and keeps it in step with the registry.

This package imports `data` and nothing else of the project.

- `client`: streams answers from an engine; the bot imports it, without torch or vLLM
- `sse`: parses server-sent events
- `engine_replies`: checks what an engine says about an answer
- `tool_calls`: calls of tools, as an engine streams them
- `serve`: `understudy serve`, which joins the parts
- `engine`: one vLLM engine: command line, process, files, capacity
- `adapters`: loading, checking and deleting adapters
- `fleet`: replicas, reconciling, rolling restarts, sleep
- `vllm_plugin`: LoRA operations for CPUs, loaded by vLLM itself
"""
