"""The one table of backends: which package computes a model, what installs it, and where its runner and trainer are.

Nothing here imports a framework; `Backend.load` does, when a call needs it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mobilebert_core.errors import BackendMissingError, CheckpointError, InputError
from mobilebert_core.files import EXPORT_FILE
from mobilebert_core.spelling import did_you_mean

from .exports.record import ExportRecord, is_exported


@dataclass(frozen=True)
class Backend:
    """One framework, or one runtime of exported files.

    Attributes:
        name: as users call it.
        package: ours; its `inference` has a `Runner`, its `trainer` a `Trainer`, its `heads`
            `MODEL_CLASSES`.
        framework: the module whose presence says that it is installed.
        extra: of this distribution, which installs it.
        models: False for a runtime of exported files, which has a `Runner` and nothing else.
    """

    name: str
    package: str
    framework: str
    extra: str
    models: bool = True

    @property
    def installed(self) -> bool:
        return find_spec(self.framework) is not None

    def runner(self, caller: str) -> Any:
        """The class that runs its models on numpy arrays; see `mobilebert_core.tasks.runner`."""
        return self.load("inference", caller).Runner

    def trainer(self, caller: str) -> Any:
        """The class that trains its models; see `mobilebert_core.training.trainer`."""
        return self.load("trainer", caller).Trainer

    def model_classes(self, caller: str) -> Any:
        """Its model classes by the name of their head."""
        return self.load("heads", caller).MODEL_CLASSES

    def load(self, module: str, caller: str) -> Any:
        """A module of its package; `caller` begins the message of an error.

        Raises:
            BackendMissingError: when its framework is not installed.
        """
        return self.require(f"{self.package}.{module}", caller)

    def require(self, module: str, caller: str) -> Any:
        """A module, by its full name, that its extra installs or that needs what it installs; as `load`."""
        try:
            return import_module(module)
        except ImportError as e:
            raise BackendMissingError(
                f"{caller}: backend {self.name!r} is not installed ({e}). Install it: "
                f"pip install 'mobilebert[{self.extra}]'."
            ) from e


BACKENDS: dict[str, Backend] = {
    backend.name: backend
    for backend in (
        Backend("torch", "mobilebert_torch", "torch", extra="torch"),
        Backend("keras", "mobilebert_tf", "tensorflow", extra="tf"),
        Backend("onnx", "conversion.exports.onnx", "onnxruntime", extra="onnx", models=False),
        Backend("torch-export", "conversion.exports.torch_program", "torch", extra="torch", models=False),
        Backend("litert", "conversion.exports.litert", "ai_edge_litert", extra="litert", models=False),
        Backend("saved-model", "conversion.exports.saved_model", "tensorflow", extra="tf", models=False),
        Backend("executorch", "conversion.exports.executorch_program", "executorch", extra="executorch", models=False),
    )
}

# Those that build and train models.
FRAMEWORKS: dict[str, Backend] = {name: backend for name, backend in BACKENDS.items() if backend.models}


# What others call them.
_ALIASES = {
    "pt": "torch", "pytorch": "torch", "tf": "keras", "tensorflow": "keras", "ort": "onnx", "onnxruntime": "onnx",
    "tflite": "litert",
}  # fmt: skip


def backend_named(name: str, caller: str, among: Collection[str] = BACKENDS.keys()) -> Backend:
    """The backend of a name; see `backend_for` for a model without one.

    Raises:
        InputError: for a name that is not `among` them, listing those, and saying which was meant.
    """
    if name not in among:
        raise InputError(f"{caller}: {unknown_backend(name, among)}")
    return BACKENDS[name]


def unknown_backend(name: Any, among: Collection[str]) -> str:
    """What says that a name is no backend of these, and which one was meant."""
    text = str(name).lower()
    hint = did_you_mean(_ALIASES.get(text, text), among)
    return f"backend must be one of {', '.join(among)}, got {name!r}.{hint}"


def backend_for(model: Any, name: str | None, caller: str) -> Backend:
    """The backend of a name; without one that of a model: what runs an exported directory, else PyTorch.

    Raises:
        InputError: for another name, or one that does not run this model.
        CheckpointError: for an export whose record is damaged.
    """
    if not is_exported(model):
        return backend_named(name or "torch", caller)
    own = ExportRecord.read(Path(model)).format
    runtimes = [each.name for each in BACKENDS.values() if not each.models]
    if own not in runtimes:
        raise CheckpointError(
            f"{Path(model) / EXPORT_FILE}: wanted an export as {', '.join(runtimes)}, got {own!r}: it is damaged, or "
            "of a newer version. Export the model again."
        )
    if name is not None and backend_named(name, caller).name != own:
        raise InputError(f"{model}: is an export, which {own} runs, got backend {name!r}. Leave the backend out.")
    return BACKENDS[own]
