"""The store and the pairs: everything Understudy remembers.

One SQLite file (`db.py`, schema in `migrations.py`) and, beside it, the folder of adapter files.
Each other module holds one noun of the product: its dataclass and the plain functions that read
and write it. They take an open `Database` first, never open or commit one: the caller decides
what belongs to one transaction. This package imports nothing else of ours.
"""
