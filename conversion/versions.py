"""The versions of what a conversion or an export may depend on, for their records."""

from __future__ import annotations

import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version

_PACKAGES = (
    "mobilebert", "numpy", "safetensors", "h5py", "torch", "tensorflow", "keras", "onnx", "onnxscript", "onnxruntime",
    "ai-edge-litert", "ai-edge-quantizer", "executorch",
)  # fmt: skip


@cache
def installed_versions() -> dict[str, str]:
    """Of Python and of each of these packages that is installed."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
