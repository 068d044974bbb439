"""Instructor, with the modes that ask for JSON."""

import os

import instructor
import openai
from pydantic import BaseModel

MODEL = os.environ["MODEL"]


class Joke(BaseModel):
    setup: str
    punchline: str


for mode in (instructor.Mode.JSON_SCHEMA, instructor.Mode.JSON, instructor.Mode.MD_JSON):
    client = instructor.from_openai(openai.OpenAI(), mode=mode)
    asked = [{"role": "user", "content": "Tell me a joke."}]
    joke = client.chat.completions.create(model=MODEL, response_model=Joke, messages=asked)
    assert (joke.setup, joke.punchline) == ("One job.", "One job."), joke
    print(mode.value)
