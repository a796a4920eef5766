"""Runs exported ONNX files in ONNX Runtime."""
