"""Experiments (A/B comparisons): starting, deciding and explaining them.

- `comparisons`: starts, ramps and stops comparisons, for every front end
- `decider`: evaluates the running comparisons and applies each domain's policy
- `explain`: recomputes a decision from the numbers stored with it
- `policy`: decides what to do about a comparison: a pure function of its results and the policy
- `rollout`: compares or promotes the adapters of triggered runs, as the domain says
- `stats`: the statistics of comparisons: one pure function that serves every front end
"""
