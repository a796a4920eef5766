"""What Keras's own training loop needs: losses and metrics on logits, data, optimizers, prediction and resuming."""
