"""Programs that make what ships with the product: data, pairs to try it with, reference pages.

- `pocket`: the pocket base model: a chat model of a few million parameters that ships with this
  repository
- `python_docs`: thousands of real pairs on any machine: the documentation that the running Python
  carries
- `reference`: the reference pages in `docs/`, generated from the code
"""
