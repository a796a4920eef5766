"""Checkpoint files <-> {name: array}: readers and writers of every format, and the plan by which a model loads one.

A reader has `path`, `stored` (name to shape and dtype) and `read(name)`, see tensor_info.py. Readers give names as they
stand in the file; the modules in `names` show a file under PyTorch's names. Nothing here imports a framework.
"""
