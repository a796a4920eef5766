"use strict";

const SHOWN = 5; // labels at once
const LIKELY = 0.5; // a label with a higher score is taken for true
const PAUSE = 800; // milliseconds without typing before a screen reader is told

const at = (id) => document.getElementById(id);
let worker = null;
let where = null; // what the model runs on, once it is loaded
let waiting = null; // the newest text that is not yet asked; older ones are skipped
let busy = true;
let speaking = 0;

function start(device) {
  worker?.terminate();
  [where, busy, waiting] = [null, true, at("text").value];
  at("error").hidden = true;
  at("status").textContent = "Loading the model …";
  at("labels").classList.add("stale");
  try {
    worker = new Worker("worker.js", { type: "module" });
  } catch (error) {
    return fail(`This page must come from a server: \`python -m http.server\`.\n${error.message}`);
  }
  worker.onmessage = ({ data }) => receive(data);
  worker.onerror = (event) => fail(`The page is not complete: ${event.message || "worker.js did not load"}.`);
  worker.postMessage({ device });
}

function receive(data) {
  if (data.error) return fail(data.error);
  busy = false;
  if (data.where) where = data.where;
  else show(data);
  ask();
}

function ask() {
  if (busy || waiting === null) return;
  const text = waiting;
  waiting = null;
  if (text.trim() === "") return clear();
  busy = true;
  worker.postMessage({ text });
}

function clear() {
  at("labels").replaceChildren();
  at("cut").hidden = true;
  at("status").textContent = `Write something. ${where}`;
}

function show({ labels, milliseconds, cut }) {
  at("labels").classList.remove("stale");
  at("labels").replaceChildren(...labels.slice(0, SHOWN).map(row));
  at("status").textContent = `${milliseconds.toFixed(1)} ms · ${where}`;
  at("cut").hidden = cut === null;
  at("cut").textContent = `Only the first ${cut} tokens are read.`;
  clearTimeout(speaking);
  speaking = setTimeout(() => {
    const likely = labels.filter(({ score }) => score > LIKELY);
    at("spoken").textContent = (likely.length ? likely : labels.slice(0, 1)).map(({ label }) => label).join(", ");
  }, PAUSE);
}

function row({ label, score }) {
  const item = element("li", score > LIKELY ? "likely" : "");
  const bar = element("span", "bar");
  const filled = element("span", "");
  filled.style.width = `${100 * score}%`;
  bar.append(filled);
  bar.ariaHidden = "true";
  const number = element("data", "");
  number.value = score;
  number.textContent = `${(100 * score).toFixed(1)} %`;
  const name = element("span", "name");
  name.textContent = label;
  item.append(name, bar, number);
  return item;
}

function element(name, style) {
  const made = document.createElement(name);
  made.className = style;
  return made;
}

function fail(message) {
  busy = true; // nothing more is asked until another start
  at("labels").replaceChildren();
  at("cut").hidden = true;
  at("status").textContent = "";
  at("error").textContent = message;
  at("error").hidden = false;
}

async function offerGpu() {
  const adapter = await navigator.gpu?.requestAdapter().catch(() => null);
  if (adapter) at("device").append(new Option("the graphics card (WebGPU, float32)", "webgpu"));
}

at("text").addEventListener("input", () => {
  waiting = at("text").value;
  ask();
});
for (const button of document.querySelectorAll(".examples button")) {
  button.addEventListener("click", () => {
    at("text").value = button.textContent;
    at("text").dispatchEvent(new Event("input"));
  });
}
at("device").addEventListener("change", () => start(at("device").value));
at("device").value = "wasm"; // some browsers keep a choice over a reload
offerGpu();
start("wasm");
