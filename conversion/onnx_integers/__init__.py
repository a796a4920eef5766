"""ONNX graphs of floats to graphs of integers: `dynamic.quantized` and `static.quantized`."""
