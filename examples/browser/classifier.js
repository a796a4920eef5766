// The exported model in transformers.js. Nothing here asks another host: library and model lie beside this file.

const DEVICES = {
  wasm: { folder: "int8", dtype: "q8", runtime: "ort-wasm-simd-threaded" },
  webgpu: { folder: "fp32", dtype: "fp32", runtime: "ort-wasm-simd-threaded.asyncify" },
};

/**
 * Loads library and model.
 *
 * @param {"wasm" | "webgpu"} device where it computes.
 * @returns {Promise<{tokenizer: Function, model: Function, where: string}>} `where` says in words what it runs on.
 * @throws {Error} a message for the reader of the page.
 */
export async function open(device) {
  const { folder, dtype, runtime } = DEVICES[device];
  const { env, AutoTokenizer, AutoModelForSequenceClassification } = await library();
  env.allowRemoteModels = false;
  env.allowLocalModels = true;
  env.localModelPath = new URL(beside("model/")).pathname; // files at a whole address are taken for missing
  env.useBrowserCache = false; // it would keep the old model after a new export
  env.useWasmCache = false;
  env.backends.onnx.wasm.wasmPaths = {
    mjs: beside(`library/${runtime}.mjs`),
    wasm: beside(`library/${runtime}.wasm`),
  };
  if (self.crossOriginIsolated) env.backends.onnx.wasm.numThreads = Math.min(4, navigator.hardwareConcurrency);
  let tokenizer, model;
  try {
    model = await AutoModelForSequenceClassification.from_pretrained(folder, { device, dtype });
    tokenizer = await AutoTokenizer.from_pretrained(folder);
    await model(tokenizer("once")); // the first call prepares what all others use, and would show as their time
  } catch (error) {
    throw new Error(`The model in model/${folder} did not load. Make it with \`make browser\`.\n${error.message}`);
  }
  const threads = env.backends.onnx.wasm.numThreads;
  const where = device === "webgpu" ? "WebGPU" : `WebAssembly, ${threads} ${threads === 1 ? "thread" : "threads"}`;
  return { tokenizer, model, where };
}

/**
 * The labels of a text, the best first.
 *
 * @returns {Promise<{labels: {label: string, score: number}[], milliseconds: number, cut: number | null}>} with the
 *   number of tokens that were read, where the text has more.
 */
export async function classify({ tokenizer, model }, text) {
  const start = performance.now();
  const { inputs, cut } = encode(tokenizer, text);
  const { logits } = await model(inputs);
  const scores = scored(logits.data, model.config.problem_type);
  const labels = scores.map((score, index) => ({ label: model.config.id2label[index], score }));
  labels.sort((one, other) => other.score - one.score);
  return { labels, milliseconds: performance.now() - start, cut };
}

/** The inputs of a text. One that is too long is cut before its last token, [SEP], which transformers.js would drop. */
export function encode(tokenizer, text) {
  const inputs = tokenizer(text);
  const longest = tokenizer.model_max_length;
  const length = inputs.input_ids.dims[1];
  if (length <= longest) return { inputs, cut: null };
  const end = inputs.input_ids.data[length - 1];
  for (const name in inputs) inputs[name] = inputs[name].slice(null, [0, longest]);
  inputs.input_ids.data[longest - 1] = end;
  return { inputs, cut: longest };
}

function scored(logits, problemType) {
  const numbers = Array.from(logits);
  if (problemType === "multi_label_classification") return numbers.map((logit) => 1 / (1 + Math.exp(-logit)));
  const largest = Math.max(...numbers);
  const shares = numbers.map((logit) => Math.exp(logit - largest));
  const sum = shares.reduce((one, other) => one + other);
  return shares.map((share) => share / sum);
}

async function library() {
  try {
    return await import("./library/transformers.min.js");
  } catch (error) {
    throw new Error(`transformers.js is not beside this page. Get it with \`make browser\`.\n${error.message}`);
  }
}

function beside(path) {
  return new URL(path, import.meta.url).href;
}
