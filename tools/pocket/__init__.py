"""The pocket base model: a chat model of a few million parameters that ships with this repository.

- `answers`: what is answered: sentences per kind of question, in the grammar of `phrasing`
- `build`: train the pocket base model: text in, a folder that transformers and vLLM load out
- `corpus`: chats for pretraining: short ones train memory, long ones train attention, all from one
  seed
- `facts`: made-up facts: one answer each, and many ways to ask whose words differ and whose meaning
  stays
- `fillers`: the concrete things that answers mention: commands, files, amounts, times, people,
  messages
- `lexicon`: the words of the made-up world: who does what with which things, and how people vary
  the saying
- `phrasing`: a tiny grammar: `[a|b]` picks one of the alternatives, `{name}` puts in a value
- `prose`: real English: what every Python installation says about itself, as prose and as questions
  with answers
- `questions`: the ways in which people ask: frames per kind of question, in the grammar of
  `phrasing`
- `smalltalk`: what everybody expects a chat bot to say: greetings, thanks, questions about itself,
  a little general knowledge
- `statements`: sentences as manuals, policies and release notes have them, with their nouns left
  open
- `tokenizer`: the tokenizer: byte-level BPE trained on the corpus, three special tokens, and the
  ChatML template
"""
