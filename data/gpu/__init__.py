"""GPUs: what fits on a card, and how serving and tuning share it, by memory or by time.

- `cards`: the graphics cards of this machine, read from `nvidia-smi`
- `memory`: estimates the GPU memory that tuning and serving need
- `plans`: builds the inputs of these estimates from the settings and the base model's files
- `memory_split`: divides one card's memory between serving and tuning
- `time_sharing`: lets serving and tuning use one card alternately
"""
