"""Hyperparameter search: trials, and how the best one is found.

- `search`: doing a search: each trial in a process of its own, one after the other, then the best
  wins
- `trial`: one trial of a search: a training as any other, of which figures are kept and no adapter
"""
