"""The graphics cards: what fits, how memory is split, and how time is shared.

- `cards`: the graphics cards of this machine, as `nvidia-smi` tells them: no torch, no CUDA context
- `memory`: how many bytes of a GPU tuning and serving need: arithmetic on the base model's shapes
- `plans`: from the settings and the base model's files to what the memory arithmetic takes, and
  back to words
- `split`: how one card is divided between serving and tuning, and what is said when it cannot be
- `time_sharing`: one card, used in turns: what the worker and the engines tell each other, through
  the store
"""
