"""Hyperparameter search: trials, and how the best one is found.

- `search`: does a search: each trial in its own process, one at a time, then chooses the best
- `trial`: one trial of a search: a normal training, of which only metrics are kept
"""
