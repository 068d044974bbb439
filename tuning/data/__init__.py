"""From pairs to batches: training sets, examples, packing and replay.

- `examples`: a pair as token ids, with loss on its response only
- `frozen_references`: the references of a run, found once and frozen with its dataset
- `grounded_pairs`: training with references: pairs with what their question finds, and refusals
- `packing`: several examples in one row instead of padding, without one seeing another
- `reading_examples`: shipped questions with references, for adapters that learn to read
- `reading_set`: the training set of a reading adapter
- `replay`: the mix of new and old pairs in an incremental run
- `run_inputs`: what a run starts from: domain, frozen dataset, the adapter that it continues
- `training_set`: a frozen dataset as examples: what a run trains on and what it measures
"""
