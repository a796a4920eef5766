"""Runs exported programs of `torch.export` in PyTorch."""
