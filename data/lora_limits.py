"""Which LoRA adapters vLLM can serve: the ranks that it knows, and the modules that it leaves out.

Whatever reads, trains, sizes for or refuses an adapter takes these limits from here.
"""

RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # MaxLoRARanks in vllm/config/lora.py
COMMON_RANKS = tuple(rank for rank in RANKS if rank > 1)  # what we tune and start engines for
MAX_RANK = max(RANKS)
UNSERVED_MODULES = ("lm_head", "embed_tokens", "wte", "embed_out")  # vLLM serves no LoRA on these
