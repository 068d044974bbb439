"""Privacy: showing, exporting, tracing and erasing a person's data.

- `answer_words`: erases the words of one answer
- `contributions`: the status of each correction or taught pair, up to the adapter that learned it
- `erasure`: erases a person's words from the store, in resumable steps
- `lineage`: from an adapter to its pairs, feedback and people, and back from a pair
- `opt_out`: opting out of learning, which withdraws pending pairs, and opting in again
- `personal_data`: what the store holds about a person, as a summary and as an export
- `provenance`: which adapters, runs and reports contain words of which pairs, and removing them
"""
