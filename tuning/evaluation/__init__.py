"""How good an adapter is: eval sets, the evaluator, metrics, the gate, reference outputs.

- `engine_client`: asks the engines that will serve an adapter, over HTTP
- `eval_report`: the scores of a run, which the registry keeps with the adapter
- `eval_sets`: the sets of questions that an adapter is evaluated on, with expected answers
- `evaluator`: asks the new adapter, the live one and the bare base all questions
- `examination`: further questions: own pairs, old facts in other ways, suggested, off-topic
- `gate`: the rules that a new adapter must pass before people can get it
- `generation`: answers and losses from the trainer's own model
- `leave_one_out`: the gate's rule that no one person decides a run on judgements
- `metrics`: metrics of answers: exact match, F1, BLEU, chrF, refusals
- `right_answers`: whether an answer is right: word for word, or by a rule
- `reference_outputs`: outputs recorded after training, which every engine must reproduce
"""
