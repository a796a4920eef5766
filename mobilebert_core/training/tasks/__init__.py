"""What can be trained: examples to rows with labels, and outputs to scores, one task a module."""
