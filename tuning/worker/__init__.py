"""The worker that takes runs from the queue, and the child process that does one.

- `child`: the child process: does one run or trial, and records how it ended
- `run`: one tuning run from top to bottom, as a sequence of stages
- `standstill`: notices a process that hangs
- `worker`: the worker: takes queued runs one at a time, and starts a child process for each
"""
