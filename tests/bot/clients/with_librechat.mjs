// What LibreChat asks for a title with: its own package, and LangChain's client for OpenAI.
import assert from "node:assert";
import { createRequire } from "node:module";
import { ChatOpenAI } from "@langchain/openai";

const { createCompletionTitleRunnable, createTitleRunnable } = createRequire(import.meta.url)(
  "./node_modules/@librechat/agents/dist/cjs/utils/title.cjs",
);
const { MODEL: model, OPENAI_BASE_URL: baseURL } = process.env;
const llm = new ChatOpenAI({ model, configuration: { baseURL }, user: "64f0" });
const convo = "User: What is a run?\nAI: One job.";

const chain = await createCompletionTitleRunnable(llm);
assert.deepEqual(await chain.invoke({ convo }), { title: "What is a run" });
console.log("a title, with titleMethod: completion");
const structured = await createTitleRunnable(llm);
const asked = { convo, inputText: "What is a run?", skipLanguage: true };
assert.deepEqual(await structured.invoke(asked), { title: "One job." });
console.log("titleMethod: structured, which the base model writes");
