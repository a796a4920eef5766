// Computes beside the page, so that typing never waits for the model.

import { classify, open } from "./classifier.js";

let opened;

self.onmessage = async ({ data }) => {
  try {
    if (data.device) {
      opened = await open(data.device);
      self.postMessage({ where: opened.where });
    } else {
      self.postMessage(await classify(opened, data.text));
    }
  } catch (error) {
    self.postMessage({ error: error.message });
  }
};
