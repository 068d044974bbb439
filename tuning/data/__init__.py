"""From pairs to batches: training sets, examples, packing and replay.

- `examples`: examples: a pair as the token ids that are trained on, loss on what is answered alone
- `packing`: packing: several examples in one row, without one seeing another, in place of padding
- `replay`: what a run repeats, what it replays, and which answers are out of date
- `run_inputs`: what a run starts from: domain, frozen dataset, the adapter that it continues
- `training_set`: what a run teaches and what it is measured on: a frozen dataset made ready for the
  loop
"""
