"""Keeping adapters in step with the registry: loading, checking and deleting.

- `garbage_collection`: deletes the files of removed adapters, once no engine holds them
- `reference_check`: whether an engine serves an adapter as it was trained: the questions recorded
  at training, asked again
- `sync`: makes one engine hold the adapters that the registry wants, and records what it holds
- `zero_adapter`: the bare base model as an adapter: all zeros, so it changes nothing
"""
