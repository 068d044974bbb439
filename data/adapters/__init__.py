"""Adapters: the registry of versions, their files, and which engine holds which.

- `files`: checks an adapter's folder and computes its digest
- `lora_config`: checks an `adapter_config.json` against an allow-list
- `placements`: which replica has which adapter loaded, with leases on adapter files
- `registry`: the registry of adapter versions: promote, roll back, retire, remove
- `safetensors_file`: a strict reader for untrusted safetensors files
"""
