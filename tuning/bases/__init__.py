"""Adding base models to the home folder, checking them, and teaching them to read references.

- `adding`: from a name, a file, a folder or a model hub to a complete folder, or nothing
- `checking`: whether a base model can be tuned and served here, and how fast
- `gguf_conversion`: a GGUF file becomes a folder with safetensors and a tokenizer
- `reading`: trains the reading adapter of a base on the shipped reading examples
"""
