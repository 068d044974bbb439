"""Experiments, the A/B comparisons of variants: design, assignment, metrics and decisions.

- `assignments`: the assignment of people to variants
- `counted_people`: whose ratings and answers decide a comparison
- `decisions`: decisions about comparisons, with the numbers they are based on
- `design`: the design of a comparison: significance levels, minimum effect and guardrails
- `expected_people`: how many people will probably rate, from the domain's ratings of late
- `experiments`: experiments and their variants: start, stop and look-up
- `metric_sums`: the data of a comparison, as sums over people for the statistics
- `metrics`: the metrics of a comparison: how each is measured, compared and shown
- `policies`: which decisions need no person, and the holdout that is in no comparison
- `ramps`: increases of the candidates' share, in stages
- `rating_breakdowns`: the ratings of a comparison by day and by segment, as sums
- `testers`: people who choose their variant and are left out of the statistics
- `variants`: the specification of a variant: adapter, system prompt and sampling settings
"""
