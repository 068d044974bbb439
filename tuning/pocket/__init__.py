"""The pocket base model: a chat model of a few million parameters that ships with this repository.

It exists so that the quick start, the tests and a laptop need no download: it speaks plain English,
knows nothing, and learns a subject from a few hundred pairs in about a minute of one core. The
story in order:

* `lexicon` and `phrasing`: the words and the tiny grammar that everything below is written with;
* `questions`, `answers`, `statements`, `fillers`: what people ask, what is said, and about what;
* `facts`: made-up facts of these, each with many ways to ask and one answer;
* `smalltalk` and `prose`: greetings, general knowledge, and Python's own documentation as English
  text;
* `corpus`: chats built from those, short ones for memory and long ones for attention;
* `tokenizer`: a byte-level BPE and the ChatML template;
* `build`: the architecture and the training loop, one command: `python -m tuning.pocket`.

Nothing about Understudy is in the text it reads: what the tuned bot knows of it, tuning taught it.
"""
