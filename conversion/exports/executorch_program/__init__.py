"""Runs exported ExecuTorch programs in ExecuTorch's Python runtime."""
