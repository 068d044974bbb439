"""What runs around the front ends: processes, sockets, metrics and background loops.

- `erasure_loop`: forgets people whom somebody asked to be forgotten: what a crash interrupted, and
  what was asked for elsewhere (a command in Slack, say) and only written down
- `listener`: the socket that the bot answers on, and how it outlives the bot
- `metrics`: what is counted, for Prometheus
- `supervisor`: `understudy up`: keeps the engine, the tuning worker and the bot running, each a
  child process
"""
