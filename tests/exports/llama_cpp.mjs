// Ask llama.cpp itself, in the binary that the npm package node-llama-cpp carries.
//
//   npm install --ignore-scripts --prefix DIR node-llama-cpp
//   node llama_cpp.mjs DIR request.json answers.json
//
// The request: { model, lora?, prompts: [text], forced?: [[id]], maxTokens }. The answer to each prompt has
//   ids     what llama.cpp reads, beginning-of-text included
//   logits  of the token after the prompt
//   next    the likeliest token after the prompt and after each token of `forced`, whatever it was before
//   tokens  the greedy answer up to `maxTokens` or the first token that ends it
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [, , directory, requested, answered] = process.argv;
const library = createRequire(`${directory}/`).resolve("node-llama-cpp");
const { getLlama, LlamaLogLevel } = await import(pathToFileURL(library));
const request = JSON.parse(readFileSync(requested, "utf8"));
const llama = await getLlama({ gpu: false, build: "never", logLevel: LlamaLogLevel.error, maxThreads: 1 });
const model = await llama.loadModel({ modelPath: request.model, gpuLayers: 0 });
const begin = model.tokens.shouldPrependBosToken ? [model.tokens.bos] : [];
const greedy = { temperature: 0 };

async function answer(sequence, ids, forced) {
  await sequence.clearHistory();
  const inputs = [...ids, ...forced].map((token, place) =>
    place < ids.length - 1 ? token : [token, { generateNext: { token: true, logits: place === ids.length - 1, options: greedy } }],
  );
  const outputs = (await sequence.controlledEvaluate(inputs)).slice(ids.length - 1);
  const logits = [...outputs[0].next.logits].sort((a, b) => a[0] - b[0]).map((pair) => pair[1]);
  await sequence.clearHistory();
  const tokens = [];
  for await (const token of sequence.evaluate(ids, greedy)) {
    if (model.isEogToken(token)) break;
    tokens.push(token);
    if (tokens.length === request.maxTokens) break;
  }
  return { logits, next: outputs.map((output) => output.next.token), tokens };
}

const answers = request.prompts.map((prompt) => ({ ids: [...begin, ...model.tokenize(prompt, false)] }));
if (request.maxTokens) {
  const lora = request.lora && { adapters: [{ filePath: request.lora }] };
  const context = await model.createContext({
    contextSize: 1024,
    threads: 1,
    lora,
    flashAttention: false,
    experimentalKvCacheKeyType: request.cache ?? "F16",
    experimentalKvCacheValueType: request.cache ?? "F16",
  });
  const sequence = context.getSequence();
  for (const [index, found] of answers.entries()) {
    Object.assign(found, await answer(sequence, found.ids, request.forced?.[index] ?? []));
  }
}
writeFileSync(answered, JSON.stringify(answers));
await llama.dispose();
