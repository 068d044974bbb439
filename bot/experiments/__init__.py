"""Running experiments: starting, deciding, explaining; `stats` does the arithmetic.

- `comparisons`: comparisons, as every front end begins, widens and ends them
- `decider`: looks at the running comparisons, and does what each domain's policy says
- `explain`: a decision, worked out anew from the numbers that were stored with it: evidence, terms,
  policy
- `policy`: what is to be done about a comparison: a pure function of its results and the domain's
  rules
- `stats`: statistics of comparisons: one pure function that every front end shows
"""
