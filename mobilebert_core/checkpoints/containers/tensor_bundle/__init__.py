"""TensorFlow checkpoints (an index and data files), read and written without TensorFlow."""
