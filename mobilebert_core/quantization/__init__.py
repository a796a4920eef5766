"""Integers in place of floats: what is observed of a model, and the ranges, scales and integers that follow."""
