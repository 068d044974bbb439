"""Experiments (A/B comparisons): starting, deciding and explaining them.

- `acting`: what acting on a comparison now would mean, in plain words
- `breakdowns`: the results of a comparison over time and by segment
- `comparisons`: starts, ramps and stops comparisons, for every front end
- `decider`: evaluates the running comparisons and applies each domain's policy
- `explain`: recomputes a decision from the numbers stored with it
- `forecast`: how many people a comparison needs and how long it takes
- `policy`: decides what to do about a comparison: a pure function of its results and the policy
- `rollout`: compares or promotes the adapters of triggered runs, as the domain says
- `stats`: the statistics of comparisons: one pure function that serves every front end
"""
