"""The recipe of a run, and the space that a search may explore.

- `recipe`: the recipe: every number that decides how an adapter is trained, typed and documented
- `search_space`: a search: what a run may try before it settles on a recipe, and how each try is
  judged
"""
