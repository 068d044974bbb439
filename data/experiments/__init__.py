"""Experiments, the A/B comparisons of variants: design, assignment, metrics and decisions.

- `assignments`: assignments: which variant a person is on
- `decisions`: decisions about comparisons, with the numbers that made them: each can be worked out
  anew
- `design`: the terms of a comparison: how sure is sure, what difference is worth having, what may
  not break
- `experiments`: experiments: comparisons of variants within one domain, and who is on which variant
- `metric_sums`: evidence: all that a comparison has collected, as the sums that every statistic is
  made of
- `metrics`: the metrics of a comparison: how each is measured, compared and shown
- `policies`: policies: what may be decided about a domain's comparisons without a person, and who
  is in none
- `ramps`: ramps: a comparison's shares change in stages, and nobody is moved back
- `testers`: testers: people who choose their variant themselves, and are in no statistic of the
  experiment
- `variants`: arms: what the sides of a comparison may differ in, before they are variants of one
"""
