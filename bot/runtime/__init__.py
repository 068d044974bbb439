"""Processes, sockets, metrics and background loops around the front ends.

- `erasure_loop`: completes pending erasures of a person's data in the background
- `listener`: the bot's listening socket, which survives a restart of the bot
- `metrics`: the metrics for Prometheus
- `supervisor`: `understudy up`: runs the engine, the tuning worker and the bot as child processes
"""
