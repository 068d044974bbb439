"""All engines of a machine: replicas, reconciling, rolling restarts and sleep.

- `fleet`: all replicas of this process: one for each engine, made from the settings
- `reconciler`: decides when an engine is compared with the registry, and asks for a restart when
  the registry has outgrown it
- `replica`: one engine as others see it, and the thread that keeps it in step with the registry
- `rolling_restart`: restarts replicas one at a time, so that nobody's answer is cut and somebody
  always answers
- `sleep`: puts engines to sleep while a run has the card, and wakes them again
"""
