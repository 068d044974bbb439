"""What builds data that ships with the product, and pairs to try it with.

- `pocket`: the pocket base model: a chat model of a few million parameters that ships with this
  repository
- `python_docs`: thousands of real pairs on any machine: the documentation that the running Python
  carries
"""
