"""LangChain's package for OpenAI."""

import os

from langchain_openai import ChatOpenAI, OpenAI, OpenAIEmbeddings

MODEL, ENCODER = os.environ["MODEL"], os.environ["ENCODER"]

chat = ChatOpenAI(model=MODEL)
assert chat.invoke("What is a run?").content == "One job."
print("chat")
assert "".join(str(part.content) for part in chat.stream("What is a run?")) == "One job."
print("chat, streamed")
newer = ChatOpenAI(model=MODEL, use_responses_api=True, output_version="responses/v1")
answer = newer.invoke("What is a run?")
assert answer.text == "One job.", answer
print("responses")
assert "".join(part.text for part in newer.stream("What is a run?")) == "One job."
print("responses, streamed")
assert OpenAI(model=MODEL).invoke("What is a run?") == "One job."
print("completions")
made = OpenAIEmbeddings(model=ENCODER, check_embedding_ctx_length=False)
assert len(made.embed_query("a")) == 384
assert len(made.embed_documents(["a", "b"])) == 2
print("embeddings, with check_embedding_ctx_length=False")
