// OpenAI's own client for JavaScript.
import assert from "node:assert";
import OpenAI from "openai";

const client = new OpenAI();
const { MODEL: model, ENCODER: encoder } = process.env;
const messages = [{ role: "user", content: "What is a run?" }];

const whole = await client.chat.completions.create({ model, messages });
assert.equal(whole.choices[0].message.content, "One job.");
console.log("chat");
let text = "";
for await (const part of await client.chat.completions.create({ model, messages, stream: true })) {
  text += part.choices[0]?.delta?.content ?? "";
}
assert.equal(text, "One job.");
console.log("chat, streamed");

const first = await client.responses.create({ model, input: "What is a run?" });
assert.equal(first.output_text, "One job.");
const second = await client.responses.create({ model, input: "Why?", previous_response_id: first.id });
assert.equal(second.output_text, "One job.");
console.log("responses, with previous_response_id");
const stream = client.responses.stream({ model, input: "What is a run?" });
assert.equal((await stream.finalResponse()).output_text, "One job.");
console.log("responses, streamed");

const older = await client.completions.create({ model, prompt: "What is a run?" });
assert.equal(older.choices[0].text, "One job.");
console.log("completions");
const made = await client.embeddings.create({ model: encoder, input: ["a", "b"] });
assert.deepEqual(made.data.map((item) => item.embedding.length), [384, 384]);
console.log("embeddings");
