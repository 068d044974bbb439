"""The training itself: the job, the loop, KTO, DPO, checkpoints and the learning-rate finder.

- `answer_probabilities`: the log probabilities of whole answers
- `checkpoint`: checkpoints, from which a killed run resumes as if nothing had happened
- `cross_entropy`: cross entropy over a large vocabulary, a few rows at a time on a CPU
- `dpo`: the DPO objective, which learns which of two answers is better
- `dpo_set`: the training set of DPO
- `ewc`: elastic weight consolidation, which holds weights that old pairs depend on
- `job`: the stages of a training: prepare the training set, load the model, train the adapter
- `kto`: the KTO objective, which learns from rated answers
- `loop`: the training loop, visible from top to bottom
- `method_setup`: what a tuning method prepares: its training set and its objective
- `methods`: how each tuning method prepares a training
- `own_answers`: on-policy replay: old questions with the adapter's own answers
- `preference_set`: the training set of a run on rated answers
- `rate_finder`: the learning-rate finder: a short ramp over learning rates
- `retention`: how a run that continues an adapter keeps what that one knows
"""
