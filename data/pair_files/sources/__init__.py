"""Exports of other tools: each is told by its keys, and its records become rows as usual.

A record of a tool nests its texts, or holds a whole conversation. A source turns it into rows whose
columns are named as in any other file, so that names, marks and `--map` mean the same everywhere
(`data/pair_files/rows.py`). What the documentation of a tool calls metadata is left out; any other
key stays in the row, and the report names it.

- `annotations`: what annotators answered about a text: an answer, a rating, a preference
- `argilla`: records of Argilla 1 and 2
- `freshdesk`: articles, canned responses and tickets of Freshdesk
- `intercom`: articles, macros and conversations of Intercom
- `label_studio`: tasks of Label Studio, and its short forms
- `labelbox`: data rows of Labelbox
- `recognition`: which tool wrote a record
- `support_conversation`: what a customer asked first, and what an agent answered in public
- `translation`: what a record says, as rows
- `zendesk`: articles, macros and tickets of Zendesk
"""
