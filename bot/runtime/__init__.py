"""Processes, sockets, metrics and background loops around the front ends.

- `address_limits`: what one address may take, and who is behind a trusted proxy
- `erasure_loop`: completes pending erasures of a person's data in the background
- `http_protocol`: HTTP/1.1 with bounds on size and time in every phase of a connection
- `listener`: the bot's listening socket, which survives a restart of the bot
- `metrics`: the metrics for Prometheus
- `recalibration_loop`: measures thresholds anew in the background after pairs have changed
- `request_log`: names the HTTP request in every log line about it
- `supervisor`: `understudy up`: runs the engine, the tuning worker and the bot as child processes
"""
