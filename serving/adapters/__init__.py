"""Keeping adapters in step with the registry: loading, checking and deleting.

- `base_check`: whether an engine answers the bare base right beside adapters
- `garbage_collection`: deletes the files of removed adapters, once no engine holds them
- `reference_check`: compares an engine's outputs with the reference outputs of training
- `sync`: makes one engine hold the adapters that the registry wants, and records what it holds
- `zero_adapter`: the bare base model as an adapter: all zeros, so it changes nothing
"""
