"""All engines of a machine: replicas, reconciling, rolling restarts and sleep.

- `fleet`: all replicas of this process: one for each engine in the settings
- `reconciler`: decides when to compare an engine with the registry, and requests restarts
- `replica`: one engine, its published state, and the thread that keeps it in step
- `rolling_restart`: restarts replicas one at a time, so that some replica always answers
- `sleep`: puts engines to sleep while a run uses the GPU, and wakes them again
"""
