"""What weights are called in a file, one naming a module: a file seen under PyTorch's names."""
