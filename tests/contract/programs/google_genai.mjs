// The tuning surface of @google/genai as published. usage: node google_genai.mjs http://localhost:PORT
import assert from 'node:assert/strict';
import {GoogleGenAI} from '@google/genai';

const ai = new GoogleGenAI({apiKey: 'any', httpOptions: {baseUrl: process.argv[2]}});
const baseModel = 'models/gemini-1.5-flash-001-tuning';
const examples = [1, 2, 3, 4].map((n) => ({textInput: `${n}`, output: `${n + 1}`}));
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

const lost = await ai.tunings.tune({baseModel, trainingDataset: {examples}, config: {epochCount: 1}}).catch((e) => e);
assert.equal(lost.status, 400);
assert.match(lost.message, /extraBody|extra_body/);

const extraBody = {tuningTask: {trainingData: {examples: {examples}}}};
let job = await ai.tunings.tune({
  baseModel,
  trainingDataset: {examples},
  config: {epochCount: 3, batchSize: 2, tunedModelDisplayName: 'js model', httpOptions: {extraBody}},
});
assert.match(job.name, /^tunedModels\/js-model-/);
while (!['JOB_STATE_SUCCEEDED', 'JOB_STATE_FAILED'].includes(job.state)) {
  await sleep(100);
  job = await ai.tunings.get({name: job.name});
}
assert.equal(job.state, 'JOB_STATE_SUCCEEDED');

const request = {model: job.name, contents: '3', config: {temperature: 0, maxOutputTokens: 8}};
const answer = await ai.models.generateContent(request);
assert.equal(typeof answer.text, 'string');
let text = '';
for await (const chunk of await ai.models.generateContentStream(request)) text += chunk.text ?? '';
assert.equal(text, answer.text);
assert.ok((await ai.models.countTokens({model: job.name, contents: '3'})).totalTokens > 0);

const second = await ai.tunings.tune({baseModel, trainingDataset: {examples}, config: {epochCount: 100_000, httpOptions: {extraBody}}});
await ai.tunings.cancel({name: second.name});
await ai.models.delete({model: job.name});
const gone = await ai.models.get({model: job.name}).catch((e) => e);
assert.equal(gone.status, 404);
console.log('ok');
