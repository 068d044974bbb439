"""The quality of pairs: checks before training, with fixes that can be undone.

One function, `checker.find`, runs every check over some pairs. The command line, the dry run of a
retrain, imports and HTTP all call it, so that they say the same.

- `answer_faults`: answers that were cut off, repeat themselves or hold stock phrases
- `balance`: how pairs spread over facts, topics, sources and authors
- `check_process`: runs the checks in a process of its own, for front ends
- `check_results`: what the last check of a domain found, kept for pages
- `checker`: runs the checks over the pairs of a domain, or over rows that are not stored yet
- `checks`: the checks, one entry each
- `contact_data`: finds e-mail addresses, phone numbers, IBANs and card numbers
- `duplicates`: the same question twice: duplicates, conflicting answers, contaminated splits
- `findings`: what a check looks at, and what it reports
- `fixes`: masks, quarantines and merges what the checks found, and undoes it
- `languages`: pairs in another language than the others
- `person_names`: finds the names of people in what they write to each other
- `private_words`: masks contact data and secrets in pairs that wait for review
- `quality_page`: the report as a page with charts
- `secrets`: finds keys, tokens and passwords
- `text_faults`: placeholders, HTML, broken encodings, control tokens and swear words
- `token_counts`: the tokens of a pair, by the tokenizer and the chat template of the base
- `unusable`: pairs that no run can learn, found quickly
"""
