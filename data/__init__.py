"""The store and the pairs: everything Understudy remembers.

All state is in one SQLite file and, beside it, a folder of adapter files. Modules hold one noun of
the product: its dataclass and the plain functions that read and write it. These functions take an
open `Database` first and never open or commit one: the caller decides what belongs to one
transaction. This package imports nothing else of the project.

- `store`: the SQLite store, its migrations, errors, clock and audit log
- `config`: the settings
- `lora_limits`: which LoRA adapters vLLM can serve
- `domains`: domains, the topics the bot answers, and the Slack channels bound to them
- `pairs`: prompt-response pairs, their review, datasets and golden sets
- `pair_files`: reads pairs from files of many formats, and writes them
- `quality`: checks pairs before training, and fixes what they find
- `search`: finds the pairs that bear on a question
- `conversations`: conversations, messages, replies
- `feedback`: ratings, corrections, suggestions
- `experiments`: A/B comparisons
- `bases`: base models in the home folder
- `adapters`: adapter versions, their files, and where they are loaded
- `runs`: tuning runs and their reports
- `triggers`: when a domain retrains by itself
- `people`: roles, API keys, consent
- `privacy`: personal data, erasure, provenance
- `gpu`: what fits on a card, and how tuning and serving share it
- `command_queue`: queued commands, from their acknowledgement to their delivered result
- `slack`: Slack's question queue and installations
- `monitoring`: alerts
- `free_memory`: how much memory of the machine is free, and whether it ran out
- `engine_http`: plain HTTP requests to an engine or another service
- `backups`: a snapshot of the store and every adapter in one file
- `home_lock`: one `up` and one `serve` for each home folder
- `private_files`: keeps the home folder from the other users of the machine
- `processes`: child processes that do not outlive their parent
- `retry`: retrying with backoff, sync and async
- `whole_folders`: folders that are there completely or not at all
- `wheels`: downloads wheels with a pinned checksum from the Python package index
- `visible_text`: shows control and bidirectional characters as symbols
"""
