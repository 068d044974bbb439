"""Which LoRA adapters vLLM can serve: their ranks, and the modules that it leaves out.

Every module that reads, trains or checks adapters takes these limits from here. vLLM is started
with a maximum rank (`--max-lora-rank`), one of RANKS, and serves adapters of every rank up to it
(`validate_legal` in vllm/lora/peft_helper.py); the rest of a slot stays zero.
"""

RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # MaxLoRARanks in vllm/config/lora.py
COMMON_RANKS = tuple(rank for rank in RANKS if rank > 1)  # what we start engines with
MAX_RANK = max(RANKS)
MAX_ALPHA = 1e4  # of a file that is imported
MAX_SCALE = 64.0  # alpha / rank of a run; usual values are 0.5 to 4
UNSERVED_MODULES = ("lm_head", "embed_tokens", "wte", "embed_out")  # vLLM serves no LoRA on these
