"""Pydantic AI: an agent with text, a stream, a structured answer, and the Responses API."""

import asyncio
import os

from pydantic import BaseModel
from pydantic_ai import Agent, NativeOutput
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel

MODEL = os.environ["MODEL"]


class Joke(BaseModel):
    setup: str
    punchline: str


agent = Agent(OpenAIChatModel(MODEL), system_prompt="Answer briefly.")
first = agent.run_sync("What is a run?")
assert first.output == "One job.", first
print("chat")
second = agent.run_sync("Why?", message_history=first.all_messages())
assert second.output == "One job.", second
print("chat, a second turn")


async def streamed() -> str:
    async with agent.run_stream("What is a run?") as answer:
        return "".join([part async for part in answer.stream_text(delta=True)])


assert asyncio.run(streamed()) == "One job."
print("chat, streamed")
structured = Agent(OpenAIChatModel(MODEL), output_type=NativeOutput(Joke))
assert structured.run_sync("Tell me a joke.").output.punchline == "One job."
print("structured answers, with NativeOutput")
newer = Agent(OpenAIResponsesModel(MODEL))
assert newer.run_sync("What is a run?").output == "One job."
print("responses")
