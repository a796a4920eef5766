"""ExecuTorch programs, in an environment of their own: `make executorch`."""
