"""llama-index: `OpenAILike`, whose default is `/v1/completions`, and the class for Responses."""

import os

from llama_index.core.llms import ChatMessage
from llama_index.llms.openai_like import OpenAILike

MODEL = os.environ["MODEL"]
given = {"api_base": os.environ["OPENAI_BASE_URL"], "api_key": os.environ["OPENAI_API_KEY"]}

older = OpenAILike(model=MODEL, **given)
assert older.complete("What is a run?").text == "One job."
print("completions, its default")
assert "".join(part.delta for part in older.stream_complete("What is a run?")) == "One job."
print("completions, streamed")
chat = OpenAILike(model=MODEL, is_chat_model=True, **given)
asked = [ChatMessage(role="user", content="What is a run?")]
assert chat.chat(asked).message.content == "One job."
print("chat")
