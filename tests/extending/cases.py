"""The cases: what a person adds by each recipe of CONTRIBUTING.md, and the tests that must then pass.

A further case is one more entry of CASES, with its checks in a file `checks_NAME.py` beside this one.
"""

from __future__ import annotations

from dataclasses import dataclass, field

HEAD = "TokenScoring"
TASK = "topic-classification"


@dataclass(frozen=True)
class Case:
    """One extension.

    Attributes:
        name: what the ids of the existing tests hold.
        rows: what is put into files that exist: path, the line that it goes before, the text.
        files: new files: path and text.
        tests: existing tests that must pick the new row up: path, and how many ids that hold `name` must pass at least.
    """

    name: str
    rows: tuple[tuple[str, str, str], ...]
    files: dict[str, str] = field(default_factory=dict)
    tests: dict[str, int] = field(default_factory=dict)


ACTIVATION_CASE = Case(
    "softplus",
    rows=(
        (
            "mobilebert_core/configuration/fields.py",
            '    Activation("tanh", ("tanh",), google="tanh"),\n',
            '    Activation("softplus", ("softplus",)),\n',
        ),
        ("mobilebert_torch/layers.py", '    "tanh": torch.tanh,\n', '    "softplus": F.softplus,\n'),
        ("mobilebert_tf/layers.py", '    "tanh": ops.tanh,\n', '    "softplus": ops.softplus,\n'),
        (
            "tests/backends/test_activations.py",
            '    "tanh": np.tanh,\n',
            '    "softplus": lambda x: np.log1p(np.exp(x)),\n',
        ),
    ),
    tests={"tests/backends/test_activations.py": 1},
)

TORCH_HEAD = '''class MobileBertForTokenScoring(TaskModel):
    """Scores for every token."""

    head = HEADS["TokenScoring"]

    def build_head(self, config: MobileBertConfig) -> None:
        self.scorer = nn.Linear(config.hidden_size, config.num_labels)

    def logits(self, encoded: BaseModelOutputWithPooling) -> dict[str, Tensor]:
        return {"logits": self.scorer(encoded.last_hidden_state)}  # (B, S, C)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        head_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> TokenClassifierOutput | tuple[Any, ...]:
        inputs = input_dict(input_ids, attention_mask, token_type_ids, position_ids, head_mask, inputs_embeds)
        return self.run(inputs, {"labels": labels}, output_attentions, output_hidden_states, return_dict)


'''

KERAS_HEAD = '''@serializable
class TFMobileBertForTokenScoring(TFTaskModel):
    """Scores for every token."""

    head = HEADS["TokenScoring"]

    def build_head(self, config: MobileBertConfig, *, initializer: Any, dtype: Any) -> None:
        self.scorer = _classifier(config.num_labels, initializer, dtype, "scorer")

    def logits(self, encoded: BaseModelOutputWithPooling, training: bool) -> dict[str, Any]:
        return {"logits": self.scorer(encoded.last_hidden_state)}  # (B, S, C)

    def call(
        self,
        input_ids: Any = None,
        attention_mask: Any = None,
        token_type_ids: Any = None,
        position_ids: Any = None,
        head_mask: Any = None,
        inputs_embeds: Any = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        labels: Any = None,
        training: bool = False,
    ) -> Any:
        inputs = input_dict(input_ids, attention_mask, token_type_ids, position_ids, head_mask, inputs_embeds)
        return self.run(inputs, {"labels": labels}, output_attentions, output_hidden_states, return_dict, training)


'''

HEAD_CASE = Case(
    HEAD,
    rows=(
        (
            "mobilebert_core/heads.py",
            '        Head(\n            "TokenClassification",\n',
            '        Head("TokenScoring", out.TokenClassifierOutput, pooled=False, modules=("scorer",),\n'
            '             tasks=(Task("labels", "logits", "num_labels", per_token=True),)),\n',
        ),
        (
            "mobilebert_core/weight_rows.py",
            '    "choice_classifier": (Row(',
            '    "scorer": (Row("scorer", "classifier", ("H", "C"), "scorer", None, None),),\n',
        ),
        ("mobilebert_torch/heads.py", "MODEL_CLASSES: dict", TORCH_HEAD),
        (
            "mobilebert_torch/heads.py",
            "        MobileBertForTokenClassification,\n",
            "        MobileBertForTokenScoring,\n",
        ),
        ("mobilebert_tf/heads.py", "MODEL_CLASSES: dict", KERAS_HEAD),
        (
            "mobilebert_tf/heads.py",
            "        TFMobileBertForTokenClassification,\n",
            "        TFMobileBertForTokenScoring,\n",
        ),
        ("mobilebert_torch/__init__.py", "    MobileBertForTokenClassification,\n", "    MobileBertForTokenScoring,\n"),
        (
            "mobilebert_torch/__init__.py",
            '    "MobileBertForTokenClassification",\n',
            '    "MobileBertForTokenScoring",\n',
        ),
        (
            "mobilebert_tf/__init__.py",
            "    TFMobileBertForTokenClassification,\n",
            "    TFMobileBertForTokenScoring,\n",
        ),
        (
            "mobilebert_tf/__init__.py",
            '    "TFMobileBertForTokenClassification",\n',
            '    "TFMobileBertForTokenScoring",\n',
        ),
    ),
    tests={"tests/core/test_heads.py": 2, "tests/backends/test_behaviour.py": 2, "tests/backends/test_files.py": 2},
)

TASK_MODULE = '''"""Training on texts with a topic."""

from __future__ import annotations

from .text_classification import TextClassificationTraining


class TopicTraining(TextClassificationTraining):
    """Scores: those of text classification."""

    name = "topic-classification"
    aliases = ()
    about = "the topic of a text: CSV, TSV or JSON lines"
'''

TASK_CASE = Case(
    TASK,
    rows=(
        (
            "mobilebert_core/tasks/table.py",
            '        TextTask(\n            "token-classification",\n',
            '        TextTask("topic-classification", "SequenceClassification", TextClassification,\n'
            '                 "the topic of a text", (_TEXT, _SECOND), ("label", "score")),\n',
        ),
        (
            "mobilebert_core/training/tasks/table.py",
            "from .training_task import TrainingTask\n",
            "from .topics import TopicTraining\n",
        ),
        ("mobilebert_core/training/tasks/table.py", "        PretrainingTraining,\n", "        TopicTraining,\n"),
    ),
    files={"mobilebert_core/training/tasks/topics.py": TASK_MODULE},
    tests={"tests/core/test_datasets_reading.py": 1},
)

RUNNER_MODULE = '''"""Runs a pickled module."""

from __future__ import annotations

import torch

from ..runner import ExportedRunner


class Runner(ExportedRunner):
    def open(self, path, threads):
        self.module = torch.load(path, weights_only=False)

    @torch.inference_mode()
    def compute(self, inputs):
        outputs = self.module(*(torch.from_numpy(inputs[name]) for name in self.record.inputs.values()))
        return {name: array.numpy() for name, array in zip(self.record.outputs, outputs, strict=True)}
'''

WRITER = """def write_wrapped(model: MobileBertPreTrainedModel, spec: ExportSpec, path: Path) -> None:
    torch.save(Exported(model, spec), path)


"""

RUNTIME_CASE = Case(
    "wrapped",
    rows=(
        ("mobilebert_torch/export.py", "def _example(spec: ", WRITER),
        (
            "conversion/backends.py",
            '        Backend("keras", ',
            '        Backend("wrapped", "conversion.exports.wrapped", "torch", extra="torch", models=False),\n',
        ),
        (
            "conversion/exports/formats.py",
            '        ExportFormat(\n            "torch-export",\n',
            '        ExportFormat("wrapped", "torch", "write_wrapped", "a pickled module",\n'
            '                     {"fp32": Precision("model.pickle", "all")}),\n',
        ),
    ),
    files={"conversion/exports/wrapped/__init__.py": "", "conversion/exports/wrapped/inference.py": RUNNER_MODULE},
)

CONTAINER_MODULE = '''
"""Arrays behind a line of JSON that describes them."""

import json
from pathlib import Path

import numpy as np

from ...errors import CheckpointError
from ..tensor_info import TensorInfo

MAGIC = b"ARRAYS 1\\n"


class LinesFile:
    def __init__(self, path):
        self.path = Path(path)
        try:
            with self.path.open("rb") as file:
                file.readline()
                self._rows = json.loads(file.readline())
                self._start = file.tell()
        except ValueError as e:
            raise CheckpointError(f"{path}: is damaged ({e}).") from None
        self.stored = {name: TensorInfo(tuple(shape), dtype) for name, (shape, dtype, _) in self._rows.items()}

    def read(self, name):
        shape, dtype, offset = self._rows[name]
        count = int(np.prod(shape, dtype=int))
        array = np.fromfile(self.path, dtype, count, offset=self._start + offset)
        if array.size < count:
            raise CheckpointError(f"{self.path}: breaks off in {name}.")
        return array.reshape(shape)


def save_lines(path, model, max_shard_size):
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {name: model.read(full) for name, (full, _) in model.state_dict().items()}
    rows, offset = {}, 0
    for name, array in arrays.items():
        rows[name] = array.shape, array.dtype.name, offset
        offset += array.nbytes
    with path.open("wb") as file:
        file.write(MAGIC + json.dumps(rows).encode() + b"\\n")
        for array in arrays.values():
            file.write(np.ascontiguousarray(array).data)
    model.save_config(path.parent)
'''


FORMAT_CASE = Case(
    "lines",
    rows=(
        (
            "mobilebert_core/checkpoints/formats.py",
            "from .containers.pickle.pickle_file import",
            "from .containers.lines import MAGIC, LinesFile, save_lines\n",
        ),
        (
            "mobilebert_core/checkpoints/formats.py",
            "\n\n@dataclass(frozen=True)\nclass Naming:",
            '\nLINES = Container("lines", LinesFile, lambda _, start: start.startswith(MAGIC), (".lines",))\n',
        ),
        (
            "mobilebert_core/checkpoints/formats.py",
            '    Format(\n        "pytorch-bin",',
            '    Format("lines", LINES, PYTORCH, lambda file: True, folder_config,\n'
            '           Output("one .lines file, and config.json", save_lines, ".lines")),\n',
        ),
    ),
    files={"mobilebert_core/checkpoints/containers/lines.py": CONTAINER_MODULE},
    tests={"tests/core/test_opening.py": 8, "tests/parity/test_converting.py": 3},
)

CASES = {
    "activation": ACTIVATION_CASE,
    "head": HEAD_CASE,
    "task": TASK_CASE,
    "format": FORMAT_CASE,
    "runtime": RUNTIME_CASE,
}
