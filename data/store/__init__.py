"""The SQLite store: opening it, its schema, and what everything else in the store relies on.

- `audit`: the audit log: who did what to which subject, and when
- `clock`: times are integers: microseconds since the epoch, UTC
- `db`: the store: one SQLite file, opened through sqlite-utils, written by whole transactions
- `errors`: what can go wrong, in five words that every edge knows how to say
- `migrations`: the schema, as numbered steps that are only ever appended
"""
