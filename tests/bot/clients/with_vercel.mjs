// Vercel's AI SDK, whose default is the Responses API.
import assert from "node:assert";
import { createOpenAI } from "@ai-sdk/openai";
import { embed, generateText, streamText } from "ai";

const { MODEL: model, ENCODER: encoder, OPENAI_BASE_URL: baseURL } = process.env;
const openai = createOpenAI({ baseURL });

const first = await generateText({ model: openai(model), prompt: "What is a run?" });
assert.equal(first.text, "One job.");
console.log("responses, its default");
const said = [{ role: "user", content: "What is a run?" }, ...first.response.messages, { role: "user", content: "Why?" }];
assert.equal((await generateText({ model: openai(model), messages: said })).text, "One job.");
console.log("responses, a second turn, which names the first by item_reference");
const streamed = streamText({ model: openai(model), prompt: "What is a run?" });
let text = "";
for await (const part of streamed.textStream) text += part;
assert.equal(text, "One job.");
console.log("responses, streamed");
assert.equal((await generateText({ model: openai.chat(model), prompt: "What?" })).text, "One job.");
console.log("chat");
assert.equal((await embed({ model: openai.embedding(encoder), value: "a" })).embedding.length, 384);
console.log("embeddings");
