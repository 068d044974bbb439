"""A simulation of the control plane: runs, leases, placements, promotions and comparisons, under a
simulated clock, with crashes, pauses, steps of the wall clock, lapses of engines and full disks.

The functions are the real ones, and so is the SQLite store. A seeded scheduler decides what happens
next, so that every failure can be repeated:

    python -m tests.simulation --seed 7 --steps 500

- `world`: the clocks, the disk and the engines
- `actors`: the processes that train and serve: workers and their children, `serve`, `tune`
- `front_end`: bots, those who ask and vote, and an admin
- `control_plane`: the scheduler, and what must hold after each step
- `comparison_invariants`: what must hold of comparisons
"""
