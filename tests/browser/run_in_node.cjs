// Reads a request as JSON, writes what Node's own runtimes answer:
// {model, batches: [{name: rows}]} through onnxruntime-node, {folder, dtype, texts} through transformers.js.

const { readFileSync } = require("node:fs");
const path = require("node:path");

async function throughOnnxRuntime({ model, batches }) {
  const ort = require("onnxruntime-node");
  const session = await ort.InferenceSession.create(model);
  const types = Object.fromEntries(session.inputMetadata.map(({ name, type }) => [name, type]));
  const answers = [];
  for (const batch of batches) {
    const feeds = {};
    for (const [name, rows] of Object.entries(batch)) {
      const flat = types[name] === "int64" ? BigInt64Array.from(rows.flat(), BigInt) : Int32Array.from(rows.flat());
      feeds[name] = new ort.Tensor(types[name], flat, [rows.length, rows[0].length]);
    }
    const { logits } = await session.run(feeds);
    answers.push({ shape: logits.dims, numbers: Array.from(logits.data) });
  }
  return answers;
}

async function throughTransformers({ folder, dtype, texts }) {
  const { env, pipeline } = require("@huggingface/transformers");
  env.allowRemoteModels = false;
  env.localModelPath = path.dirname(folder);
  const classify = await pipeline("text-classification", path.basename(folder), { dtype });
  const answers = [];
  for (const text of texts) answers.push(await classify(text, { top_k: null }));
  return answers;
}

const request = JSON.parse(readFileSync(0, "utf8"));
(request.model ? throughOnnxRuntime : throughTransformers)(request).then((answers) => {
  process.stdout.write(JSON.stringify(answers));
});
