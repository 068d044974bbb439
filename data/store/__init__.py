"""The SQLite store: connections and transactions, the schema, errors, time, the audit log.

- `audit`: the audit log
- `clock`: time stamps, in microseconds since the epoch, UTC
- `db`: opens the SQLite file and runs transactions, with group commit
- `errors`: the five kinds of expected failure
- `lease_clock`: the clock of leases and heartbeats, which a step of the wall clock does not move
- `migrations`: the schema, one numbered file for each change
- `secret`: the secret of the store, and digests that only this store can compute
"""
