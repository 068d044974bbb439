"""How good an adapter is: eval sets, the evaluator, metrics, the gate, reference outputs.

- `engine_client`: asks the engines that will serve an adapter, over HTTP, as people's questions are
  asked
- `eval_report`: the scores of a run: what the registry keeps about an adapter beside its bytes
- `eval_sets`: what an adapter is examined on: sets of questions with the answers they should get
- `evaluator`: puts the questions of an exam to the adapter that was made, to the live one and to
  the bare base
- `gate`: the gate: whether a new adapter may be offered to people
- `generation`: what the trainer itself can say about a model: its answers, and how likely it finds
  the right ones
- `metrics`: figures for answers, as the field counts them
- `reference_outputs`: canaries: what a freshly trained adapter answers, recorded for every engine
  that will serve it
"""
