"""From a user's data file to batches of arrays, and from a model's outputs to scores, for fine-tuning."""
