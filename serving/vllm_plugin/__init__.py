"""What Understudy adds to vLLM, loaded by vLLM itself as a plugin; needs torch and vLLM.

- `grouped`: LoRA's products for the tokens of a step, grouped by adapter
- `wrapper`: vLLM's LoRA operations for CPUs, made of these products
- `check`: compares them with vLLM's own operations, on random numbers
- `plugin`: the entry point: chooses one of the two when an engine starts
"""
