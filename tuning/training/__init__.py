"""The training itself: the job, the loop, KTO, checkpoints and the learning-rate finder.

- `checkpoint`: checkpoints of a run in training: what a killed run needs to go on as if nothing had
  happened
- `job`: the stages of a training: prepare the training set, load the model, train the adapter
- `kto`: learning from thumbs: KTO, which needs no pairs of better and worse answers to one question
- `loop`: the training loop, visible from top to bottom
- `method_setup`: what a tuning method prepares: its training set and its objective
- `methods`: how each tuning method prepares a training
- `preference_set`: what a run learns from thumbs: answers as token ids, as they were asked for and
  given
- `rate_finder`: the learning-rate finder: a short ramp over rates, and a rate well below where it
  turns
"""
