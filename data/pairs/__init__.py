"""Pairs, the questions and answers that a bot learns from: files, review, datasets, golden sets.

- `contamination`: questions that are the same but for how they are written: what must not be both
  measured and trained
- `datasets`: datasets: frozen, content-addressed selections of a domain's approved pairs
- `files`: pairs in files: JSON Lines, OpenAI chat messages and CSV, read row by row and written
  whole
- `golden`: the golden set of a domain: frozen questions that every adapter is measured on and none
  is trained on
- `pairs`: pairs: a prompt and its response, who it is from, and whether it may be learned
- `preference_sets`: preferences: answers that people liked or disliked, as a run learns from them
- `question`: the question that a pair asks, and the form in which questions are compared
- `review_queue`: the queue of pending pairs, shared by several reviewers
- `review_status`: the status of a pair, and who or what gave it
- `rows`: what one row of somebody's file means: a draft, or a sentence about what is wrong with it
"""
