"""The base model: loading it in four bits, its chat template, licence and memory.

- `base_model`: the frozen base model in four bits, and the adapter that is trained on it
- `chat_template`: the chat template that an adapter was trained with, kept in its folder
- `cpu_linear`: dense copies of a 4-bit base's weights, for training on a CPU
- `cpu_lora`: faster LoRA layers for training on a CPU
- `cpu_norm`: RMSNorm with a faster backward pass, for training on a CPU
- `greedy_answers`: greedy answers of the model that is in memory
- `licences`: the licence of the base model, which people confirm if it forbids common uses
- `memory_check`: whether a run fits on a GPU that it shares with the engine
- `reading_adapter`: where the reading adapter of a base is kept
- `shared_prefix`: the common beginning of a batch's rows, computed once
- `unpadded`: the rows of a batch end to end, without padding
"""
