"""Mutation testing of the modules that decide: `make mutants MODULE=tuning/evaluation/gate.py`.

A mutant is the module with one small fault. A mutant that no test notices (a survivor) shows what
the tests leave open. `docs/mutation-testing.md` explains how to read the report.

Modules:

- `__main__`: the command: runs the mutants of one module, prints the survivors and the score.
- `generate`: makes the mutants, with mutmut's operators and those of `sql`.
- `sql`: faults in SQL statements, where many of the decisions are.
- `workers`: runs the tests against one mutant in a forked process.
- `equivalents`: the mutants that behave as the original does, listed in `equivalent.toml`.
- `test_mutants`: the tests of this package.
"""
