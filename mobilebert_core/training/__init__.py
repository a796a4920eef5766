"""Training on either framework: recipes, order of the data, masking, the loop, and what it leaves on disk.

Nothing here computes a gradient: a backend's `Trainer` does. Everything that decides the numbers, from the first
weights to the order of the batches, is drawn here from one seed, so that both frameworks produce the same loss curve.
"""
