"""OpenAI's own client for Python."""

import asyncio
import json
import os

import openai
from openai.types.chat import ChatCompletionUserMessageParam
from openai.types.responses import FunctionToolParam, ResponseInputParam
from openai.types.responses.response_input_param import FunctionCallOutput

MODEL, ENCODER = os.environ["MODEL"], os.environ["ENCODER"]
ASKED: list[ChatCompletionUserMessageParam] = [{"role": "user", "content": "What is a run?"}]
client = openai.OpenAI()

whole = client.chat.completions.create(model=MODEL, messages=ASKED)
assert whole.choices[0].message.content == "One job.", whole
print("chat")
parts = client.chat.completions.create(
    model=MODEL, messages=ASKED, stream=True, stream_options={"include_usage": True}
)
found = list(parts)
assert "".join(p.choices[0].delta.content or "" for p in found if p.choices) == "One job."
assert found[-1].usage is not None
print("chat, streamed, with usage")

first = client.responses.create(model=MODEL, input="What is a run?")
assert first.output_text == "One job.", first
second = client.responses.create(model=MODEL, input="Why?", previous_response_id=first.id)
assert second.output_text == "One job.", second
print("responses, with previous_response_id")
with client.responses.stream(model=MODEL, input="What is a run?") as stream:
    for _ in stream:
        pass
    assert stream.get_final_response().output_text == "One job."
print("responses, streamed")

PARAMETERS: dict[str, object] = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
tool: FunctionToolParam = {
    "type": "function",
    "name": "weather",
    "parameters": PARAMETERS,
    "strict": True,
}
said: ResponseInputParam = [{"role": "user", "content": "How warm is it in 'Oslo'?"}]
asked = client.responses.create(model=MODEL, input=said, tools=[tool])
(call,) = asked.output
assert call.type == "function_call", asked
assert json.loads(call.arguments) == {"city": "Oslo"}, call
returned: FunctionCallOutput = {
    "type": "function_call_output",
    "call_id": call.call_id,
    "output": "17",
}
again = [*said, *asked.output, returned]
answered = client.responses.create(model=MODEL, input=again, tools=[tool])  # type: ignore[arg-type]
assert answered.output_text == "One job.", answered
answered = client.responses.create(
    model=MODEL, input=[returned], tools=[tool], previous_response_id=asked.id
)
assert answered.output_text == "One job.", answered
with client.responses.stream(model=MODEL, input=said, tools=[tool]) as stream:
    (streamed,) = [e for e in stream if e.type == "response.function_call_arguments.done"]
assert json.loads(streamed.arguments) == {"city": "Oslo"}, streamed
of_chat = client.chat.completions.create(
    model=MODEL,
    messages=[{"role": "user", "content": "How warm is it in 'Oslo'?"}],
    tools=[{"type": "function", "function": {"name": "weather", "parameters": PARAMETERS}}],
    tool_choice="required",
)
(of_tool,) = of_chat.choices[0].message.tool_calls or ()
assert of_tool.type == "function", of_chat
assert json.loads(of_tool.function.arguments) == {"city": "Oslo"}, of_chat
print("tools, in chat and in responses")

assert client.completions.create(model=MODEL, prompt="What?").choices[0].text == "One job."
pieces = client.completions.create(model=MODEL, prompt="What?", stream=True)
assert "".join(p.choices[0].text for p in pieces) == "One job."
print("completions, whole and streamed")

made = client.embeddings.create(model=ENCODER, input=["a", "b"])  # the client asks for base64
floats = client.embeddings.create(model=ENCODER, input=["a", "b"], encoding_format="float")
assert [len(item.embedding) for item in (*made.data, *floats.data)] == [384] * 4
print("embeddings, as base64 and floats")

assert MODEL in [model.id for model in client.models.list()]
assert client.models.retrieve(MODEL).id == MODEL
print("models")

code = None
try:
    client.chat.completions.create(model="gpt-4", messages=ASKED)
except openai.NotFoundError as error:
    code = error.code
assert code == "model_not_found"
print("errors by kind")


async def at_once() -> None:
    async with openai.AsyncOpenAI() as asked:
        calls = (asked.responses.create(model=MODEL, input="What?") for _ in range(4))
        assert {answer.output_text for answer in await asyncio.gather(*calls)} == {"One job."}


asyncio.run(at_once())
print("the asynchronous client")
