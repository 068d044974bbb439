"""The recipe of a run, and the space that a search may explore.

- `recipe`: every setting that decides how an adapter is trained, typed and documented
- `search_space`: the points and folds of a search, and the trials that they make
"""
