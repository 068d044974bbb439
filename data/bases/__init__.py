"""Base models in the home folder, `bases/NAME`, which `understudy base add` puts there.

- `catalogue`: base models that can be added by a short name
- `context_length`: how many tokens a base model reads
- `control_tokens`: the tokens of a base that begin or end turns
- `digest`: what a base model consists of, and whether an adapter belongs to it
- `folders`: where base models are kept, and what is recorded beside each one
- `language_fit`: whether a base suits the language of a domain's pairs, by its tokenizer
- `tool_template`: whether the chat template of a base has a place for calls of tools
"""
