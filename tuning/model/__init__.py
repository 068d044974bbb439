"""The base model: loading it in four bits, its chat template, licence and memory.

- `base_model`: the model: the frozen base in four bits, and the adapter that learns on top of it
- `chat_template`: the chat template that an adapter was trained with, kept beside it
- `licences`: the licence of the base model: read, recorded with each adapter, and asked about when
  it forbids the common uses
- `memory_check`: whether a run has room on a card that it shares with the engine: asked before the
  base is loaded
"""
