"""LiteLLM, with the prefix for OpenAI-compatible services."""

import os

import litellm

MODEL, ENCODER = f"openai/{os.environ['MODEL']}", f"openai/{os.environ['ENCODER']}"
ASKED = [{"role": "user", "content": "What is a run?"}]

whole = litellm.completion(model=MODEL, messages=ASKED)
assert whole.choices[0].message.content == "One job.", whole
print("chat")
parts = litellm.completion(model=MODEL, messages=ASKED, stream=True)
assert "".join(p.choices[0].delta.content or "" for p in parts) == "One job."
print("chat, streamed")
answer = litellm.responses(model=MODEL, input="What is a run?")
assert answer.output[0].content[0].text == "One job.", answer
print("responses")
kinds = [event.type for event in litellm.responses(model=MODEL, input="What?", stream=True)]
assert kinds[-1] == "response.completed", kinds
print("responses, streamed")
text = litellm.text_completion(model=f"text-completion-{MODEL}", prompt="What is a run?")
assert text.choices[0].text == "One job.", text
print("completions")
made = litellm.embedding(model=ENCODER, input=["a", "b"])
assert [len(item["embedding"]) for item in made.data] == [384, 384]
print("embeddings")
try:
    litellm.completion(model=MODEL, messages=[{"role": "user", "content": "x" * 9_000}])
except litellm.ContextWindowExceededError:
    print("a question that is too long, by kind")
