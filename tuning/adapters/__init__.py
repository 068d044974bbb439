"""Adapter files: storing, publishing, importing and exporting them.

- `adapter_store`: the folder of each adapter of a domain, written completely or not at all
- `exporter`: writes an adapter in the formats of other programs
- `importer`: imports adapters that were trained elsewhere
- `lora_patterns`: adapters whose rank or alpha differs by module, with one rank and one alpha
- `ollama`: the Modelfile with which Ollama serves an adapter
- `publish`: from trained weights to a registered adapter, completely or not at all
"""
