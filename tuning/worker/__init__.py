"""The worker that takes runs from the queue, and the child process that does one.

- `run`: one tuning run, from queue entry to registered adapter: the child process of the worker
- `worker`: the worker: takes queued runs, one after the other, and does each in a child process
"""
