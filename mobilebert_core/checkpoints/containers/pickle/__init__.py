"""Pickled PyTorch state dicts, read and written without PyTorch and without running what is in them."""
