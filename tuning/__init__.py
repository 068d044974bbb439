"""Tuning: approved pairs in, a LoRA adapter out.

`worker.py` claims queued runs and starts `run.py` as a child process for each. A run reads as its
own story: freeze the dataset, choose the recipe (`recipe.py`), turn pairs into token ids
(`examples.py`), pick what to repeat and what to replay (`forgetting.py`), load the base in four
bits (`model.py`), train (`train.py`), register what came out (`publish.py`), have the engine that
will serve it answer its exam (`exam.py`, `examiner.py`), and judge (`scores.py`, `gate.py`).
Importing this package, or the worker, loads no torch: only the child does.
"""
