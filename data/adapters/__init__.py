"""Adapters: the registry of versions, their files, and which engine holds which.

- `files`: an adapter's files: their digest, and whether an engine can be trusted with them
- `lora_config`: what an `adapter_config.json` may say: what vLLM serves, and nothing that it
  ignores in silence
- `placements`: what each engine replica holds: written by `understudy serve`, read by whoever
  routes
- `registry`: adapters: the registry of LoRA versions, and which of them is live
- `safetensors_file`: reads safetensors files that nobody vouches for
"""
