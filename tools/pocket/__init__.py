"""The pocket base model: a chat model of a few million parameters that ships with this repository.

- `answers`: answer templates for each kind of question
- `build`: trains the model and writes a folder that transformers and vLLM load
- `corpus`: chats for pretraining: short ones train memory, long ones train attention
- `facts`: made-up facts, each with one answer and many phrasings of the question
- `fillers`: values for answers: commands, files, amounts, times, people, messages
- `lexicon`: the vocabulary of the made-up facts: things, actions and synonyms
- `phrasing`: the template grammar: `[a|b]` chooses an alternative, `{name}` inserts a value
- `prose`: real English from the Python documentation, as prose and as questions with answers
- `questions`: question templates for each kind of question
- `smalltalk`: greetings, thanks, questions about the bot, and a little general knowledge
- `statements`: sentence templates as in manuals, policies and release notes
- `tokenizer`: the tokenizer: byte-level BPE, three special tokens, and the ChatML template
"""
