"""Search: the approved pairs that bear on a question, best first.

Golden questions are never found: they measure what the bot knows. The folder `minilm` is the
shipped encoder, and `mpnet` is one without its weights, which are downloaded when it is added.

- `answerable`: whether the search found enough to answer a question
- `confidence`: how likely the best pair answers, and from when on to answer
- `domain_calibration`: the same for one domain, measured on its own questions
- `embeddings_api`: an encoder behind an address that answers like `/v1/embeddings`
- `encoder_adding`: `understudy encoder add`: writes an encoder into the home folder
- `encoder_catalogue`: encoders that can be added by name
- `encoder`: what an encoder is, and which one the settings choose
- `fact_proposals`: which fact a pending pair probably states
- `follow_ups`: how a question within a conversation is searched
- `index`: the pairs of a domain in memory, compared with a question by one matrix product
- `joint_encoder`: an added encoder together with the shipped one
- `language_check`: whether an encoder suits the language of a domain's pairs
- `layout`: how references stand in a prompt
- `onnx_encoder`: an encoder in a folder, run by onnxruntime
- `pair_pages`: pages of a domain's pairs: filters, and full-text search over every status
- `question_groups`: groups questions that ask the same
- `recalibration`: measures thresholds anew after pairs have changed
- `search`: finds pairs for a question; the one way in
- `vector_builder`: encodes the pairs that have no vectors yet, in the background
- `vectors`: the stored vectors of pairs
- `weight_filling`: fills an ONNX graph with weights that are rounded to 8 bits
- `word_search`: finds pairs that share words with a question, by FTS5
"""
