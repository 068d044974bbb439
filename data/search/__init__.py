"""Search: the approved pairs that bear on a question, best first.

Golden questions are never found: they measure what the bot knows. The folder `minilm` is the
shipped encoder.

- `answerable`: whether the search found enough to answer a question
- `confidence`: how likely the best pair answers, and from when on to answer
- `domain_calibration`: the same for one domain, measured on its own questions
- `embeddings_api`: an encoder behind an address that answers like `/v1/embeddings`
- `encoder`: what an encoder is, and which one the settings choose
- `fact_proposals`: which fact a pending pair probably states
- `follow_ups`: how a question within a conversation is searched
- `index`: the pairs of a domain in memory, compared with a question by one matrix product
- `language_check`: whether an encoder suits the language of a domain's pairs
- `layout`: how references stand in a prompt
- `onnx_encoder`: an encoder in a folder, run by onnxruntime
- `question_groups`: groups questions that ask the same
- `search`: finds pairs for a question; the one way in
- `vector_builder`: encodes the pairs that have no vectors yet, in the background
- `vectors`: the stored vectors of pairs
- `word_search`: finds pairs that share words with a question, by FTS5
"""
