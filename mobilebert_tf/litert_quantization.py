"""LiteRT files in lower precisions, made by ai-edge-quantizer of the file in float32.

- fp16: weights and tables are stored in half precision.
- int8: weights and tables in int8 with a scale for each output feature or row. Activations are float between the dense
  layers, each of which gives every token a scale of its own while it runs.
- int8-static, int8x16: activations too are integers of 8 or 16 bits, whose ranges come from calibration.

A head's last dense layer stays in float where it is small: it is next to nothing in time and space, its error would be
the decision's. So outputs are floats in every precision.

B batch, S sequence, N heads, T tokens, C features.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from typing import Any

import numpy as np

from mobilebert_core.errors import ExportError
from mobilebert_core.exports import ExportSpec
from mobilebert_core.inputs import TEXT_INPUTS
from mobilebert_core.quantization.histograms import Histogram

from .litert_files import operations, read_flatbuffer

# e**-8 rounds to no probability of 8 bits, e**-13 to none of 16. Lower scores than that need no integers of their own.
_BELOW_LARGEST = {8: 8.0, 16: 13.0}
_HEADROOM = 1.5  # of ranges of 16 bits, which have bits to spare for texts that go beyond those of calibration
_SMALL = 1 << 16  # weights of a last layer that stays in float
_ACTIVATION_BITS = {"int8-static": 8, "int8x16": 16}


def quantized_file(plain: bytes, spec: ExportSpec) -> bytes:
    """The file of the spec's precision, of the one in float32.

    Raises:
        ExportError: in fp16, for weights that do not fit.
    """
    if spec.precision == "fp32":
        return plain
    from ai_edge_quantizer import quantizer

    ranges = None
    if bits := _ACTIVATION_BITS.get(spec.precision):
        ranges = activation_ranges(plain, spec, bits)
    made = quantizer.Quantizer(bytearray(plain), _recipe(plain, spec.precision))
    try:
        with _quiet(), np.errstate(over="raise"):
            made = made.quantize(ranges, enable_progress_bar=False, enable_progress_report=False)
    except FloatingPointError:
        raise ExportError(
            f"export: {spec.precision}: weights are beyond {np.finfo(np.float16).max:.0f}, the largest number of "
            "float16. Fold with 'half', as fold='auto' does, or choose fp32 or int8."
        ) from None
    return bytes(made.quantized_model)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without a progress bar that cannot be switched off, and a warning that keeping all activations takes memory."""
    with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
        warnings.filterwarnings("ignore", message=".*experimental_preserve_all_tensors.*")
        yield


def _recipe(plain: bytes, precision: str) -> Any:
    """What happens to which operations; later rules go before earlier ones."""
    from ai_edge_quantizer import algorithm_manager, qtyping, recipe_manager

    names, algorithms = qtyping.TFLOperationName, algorithm_manager.AlgorithmName
    rules = recipe_manager.RecipeManager()
    everything = ".*"
    if precision == "fp16":
        for operation in (names.FULLY_CONNECTED, names.EMBEDDING_LOOKUP):
            rules.add_weight_only_config(everything, operation, 16, algorithm_key=algorithms.FLOAT_CASTING)
        return rules.get_quantization_recipe()
    if bits := _ACTIVATION_BITS.get(precision):
        rules.add_static_config(everything, names.ALL_SUPPORTED, bits, 8)
        rules.add_dynamic_config("embeddings", names.EMBEDDING_LOOKUP, 8)
        rules.add_quantization_config(everything, names.OUTPUT, None, algorithms.NO_QUANTIZE)
    else:
        rules.add_dynamic_config(everything, names.ALL_SUPPORTED, 8)
    for name in _small_last_layers(plain):
        rules.add_quantization_config(name, names.FULLY_CONNECTED, None, algorithms.NO_QUANTIZE)
    for name in _slices_of_outputs(plain):
        rules.add_quantization_config(name, names.STRIDED_SLICE, None, algorithms.NO_QUANTIZE)
    return rules.get_quantization_recipe()


def _small_last_layers(plain: bytes) -> list[str]:
    """Patterns of the names of small dense layers after which nothing but views of their output comes."""
    model = read_flatbuffer(plain)
    graph = model.subgraphs[0]
    made_by = {index: (name, each) for name, each in operations(model) for index in each.outputs}
    found = []
    for output in graph.outputs:
        name, operator = made_by.get(output, ("", None))
        while name in ("STRIDED_SLICE", "RESHAPE", "ADD"):
            output = operator.inputs[0]
            name, operator = made_by.get(output, ("", None))
        if name == "FULLY_CONNECTED" and np.prod(graph.tensors[operator.inputs[1]].shape) <= _SMALL:
            found.append(f"^{re.escape(graph.tensors[output].name.decode())};")
    return sorted(set(found))


def _slices_of_outputs(plain: bytes) -> list[str]:
    """Patterns of the names of slices of what is an output itself, such as the first token of the last states.

    Outputs are floats: a slice of one is, too.
    """
    model = read_flatbuffer(plain)
    graph = model.subgraphs[0]
    read = [each for name, each in operations(model) if name == "STRIDED_SLICE" and each.inputs[0] in graph.outputs]
    return sorted(f"^{re.escape(graph.tensors[each.outputs[0]].name.decode())};" for each in read)


def activation_ranges(plain: bytes, spec: ExportSpec, bits: int) -> dict[str, dict[str, np.ndarray]]:
    """The smallest and largest value of every activation by its name, as ai-edge-quantizer takes them."""
    from ai_edge_litert.interpreter import Interpreter

    model = read_flatbuffer(plain)
    tensors = model.subgraphs[0].tensors
    observed = _Activations(model)
    with _quiet():
        interpreter = Interpreter(model_content=plain, num_threads=1, experimental_preserve_all_tensors=True)
    places = {each["name"]: each["index"] for each in interpreter.get_input_details()}
    for batch in _of_fixed_sizes(spec):
        for ours, theirs in spec.inputs.items():
            interpreter.resize_tensor_input(places[theirs], batch[ours].shape)
        interpreter.allocate_tensors()
        for ours, theirs in spec.inputs.items():
            interpreter.set_tensor(places[theirs], batch[ours])
        interpreter.invoke()
        mask = batch[TEXT_INPUTS[1]]
        observed.add(interpreter.get_tensor, mask.reshape(-1, mask.shape[-1]) > 0)
    found = observed.ranges(bits)
    return {
        tensors[index].name.decode(): {"min": np.asarray([low], np.float32), "max": np.asarray([high], np.float32)}
        for index, (low, high) in found.items()
    }


def _of_fixed_sizes(spec: ExportSpec) -> Iterator[Mapping[str, np.ndarray]]:
    """The batches of calibration, in the sizes that the file has fixed."""
    for batch in spec.calibration:
        rows = len(batch[TEXT_INPUTS[0]])
        size = spec.batch or rows
        for start in range(0, rows - rows % size or rows, size):
            part = {name: np.asarray(array[start : start + size], np.int32) for name, array in batch.items()}
            if spec.length is not None:
                short = spec.length - part[TEXT_INPUTS[0]].shape[-1]
                edges = [(0, 0)] * (part[TEXT_INPUTS[0]].ndim - 1) + [(0, max(short, 0))]
                part = {name: np.pad(array, edges)[..., : spec.length] for name, array in part.items()}
            yield {name: np.ascontiguousarray(part[name]) for name in TEXT_INPUTS}


class _Activations:
    """What the activations of a file take for values on real texts. Padding is left out: nobody reads its values."""

    def __init__(self, model: Any) -> None:
        self._graph = model.subgraphs[0]
        self._histograms: dict[int, Histogram] = {}
        # Of scores: the smallest of the largest scores of rows, and the largest.
        self._largest: dict[int, tuple[float, float]] = {}
        self._masked: dict[int, int] = {}  # scores, and what they are after the mask
        made_by = {index: (name, each) for name, each in operations(model) for index in each.outputs}
        self._floats = [index for index in made_by if self._graph.tensors[index].type == 0]
        for name, operator in made_by.values():
            if name == "SOFTMAX":
                masked = operator.inputs[0]
                scores = next(i for i in made_by[masked][1].inputs if made_by.get(i, ("",))[0] == "BATCH_MATMUL")
                self._masked[scores] = masked

    def add(self, read: Any, seen: np.ndarray) -> None:
        """Takes what one run left, by `read(index)`; seen (B, S) tells tokens from padding."""
        masked = set(self._masked.values())
        for index in self._floats:
            if index in masked:
                continue
            values = read(index)
            if index in self._masked:
                self._add_scores(index, values, seen)
                continue
            if values.ndim == 2 and len(values) == seen.size:  # (T, C)
                values = values[seen.ravel()]
            elif values.ndim == 3 and values.shape[:2] == seen.shape:  # (B, S, C)
                values = values[seen]
            self._histograms.setdefault(index, Histogram()).add(values)

    def _add_scores(self, index: int, scores: np.ndarray, seen: np.ndarray) -> None:
        rows = np.where(seen[:, None, None, :], scores, -np.inf).max(axis=-1)  # (B, N, S)
        rows = rows.transpose(0, 2, 1)[seen]
        if rows.size:
            smallest, largest = self._largest.get(index, (np.inf, -np.inf))
            self._largest[index] = min(smallest, float(rows.min())), max(largest, float(rows.max()))

    def ranges(self, bits: int) -> dict[int, tuple[float, float]]:
        """The lowest and highest value of each activation.

        Scores before the mask and after it have the same: their largest and as far below the smallest of the
        rows' largest as matters to softmax. What the mask hides falls below and becomes the lowest of them.
        """
        method = "percentile" if bits == 8 else "min_max"
        widen = 1.0 if bits == 8 else _HEADROOM
        found = {}
        for index, histogram in self._histograms.items():
            low, high = histogram.range(method)
            found[index] = low * widen, high * widen
        for index, (low, high) in self._largest.items():
            found[index] = found[self._masked[index]] = min(low - _BELOW_LARGEST[bits], 0.0), max(high, 0.0)
        return found
