"""Adapter files: storing, publishing, importing and exporting them.

- `adapter_store`: the shelf of a domain: one folder for each of its adapters, all or nothing
- `exporter`: takes an adapter out of the house, in the form in which others want it
- `importer`: adapters that were made elsewhere, brought into the form in which ours are
- `ollama`: the Modelfile with which Ollama serves an adapter on its base
- `publish`: from trained weights to a registered adapter, all or nothing
"""
