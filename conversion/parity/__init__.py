"""Parity: runs two models on the same batch and measures how far their numbers are apart."""
