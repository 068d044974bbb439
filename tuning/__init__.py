"""Tuning: approved pairs in, a LoRA adapter out.

A run freezes a dataset, chooses a recipe, encodes the pairs as token ids, loads the base model in
four bits, trains, registers the adapter, evaluates it, and applies the gate. `worker/run.py` shows
these stages in order. Importing this package, or the worker, loads no torch: only the child process
of a run does.

- `recipe`: every setting that decides how an adapter is trained, and searches over them
- `model`: the base model, its chat template, licence and memory
- `bases`: adding base models to the home folder, and checking them
- `data`: training examples, packing, replay
- `training`: the training loop, objectives, checkpoints, the learning-rate finder
- `evaluation`: eval sets, the evaluator, metrics, the gate, reference outputs
- `adapters`: storing, publishing, importing and exporting adapters
- `search`: hyperparameter search
- `worker`: the worker, and the child process that does one run
- `child_process`: the command line and the exit codes of that child process
- `progress`: the interface through which a run reports its progress
- `threads`: the CPU threads of a run, which gives up cores while people ask
"""
