"""Pairs, the questions and answers that a bot learns from: review, datasets, golden sets.

- `bulk_reviews`: decisions on many pairs at once, which can be undone together
- `contamination`: keeps golden questions out of training
- `current_answers`: which answer counts now, where a newer one replaces older ones
- `datasets`: frozen datasets with train, validation, probe and golden splits
- `fact_links`: links a pending pair to the fact that a reviewer confirms
- `imports`: what one file brought, which can be undone together
- `judged_answers`: rated answers from files, for preference tuning
- `golden`: golden questions, which are used for evaluation only
- `masked_words`: the private words that were masked in a pair that waits for review
- `pair_edits`: edits of a pair, refused if somebody changed it meanwhile
- `pairs`: a prompt and its response, its author and its status
- `preference_pairs`: an answer and a better one, for preference tuning by DPO
- `preference_sets`: the rated answers that a preference-tuning run learns from
- `question`: the question that a pair asks, and the form in which questions are compared
- `question_join`: finds all questions that are the same among many, in one pass
- `question_matching`: finds questions that are the same apart from their spelling and word forms
- `reply_sources`: the pairs that an answer rests on
- `review_queue`: the queue of pending pairs, shared by several reviewers
- `review_status`: the status of a pair, and who or what gave it
"""
