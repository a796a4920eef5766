"""Records what TensorFlow Model Garden saves and computes for MobileBERT, so that the tests need none of it.

Run from the root of the repository, in an environment with TensorFlow 2.15, tf-models-official 2.15.0 (installed
with --no-deps), what importing its MobileBERT needs (gin-config, tensorflow-text 2.15.0, tensorflow-hub, scipy,
sentencepiece, PyYAML), and this package's own dependencies:

    python -m tests.golden.record_model_garden

Checkpoints and outputs are those of the real code, with random weights, saved in the ways in which people save.
One stands in: official/projects/edgetpu is in no wheel, so `edgetpu_pretrainer` rebuilds its pretrainer (a functional
model with the same attributes) around the real encoder and heads.

Outputs are float64, of weights that float32 holds exactly, but for layer norm and the span labeler, which compute in
float32 there whatever they are given.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
import tempfile
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from official.nlp.modeling import layers, models, networks
from official.projects.mobilebert import export_tfhub, model_utils

from tests.golden.model_garden_cases import CASES, LISTED, MINI, TEACHER, Case

HERE = Path(__file__).parent / "model_garden"


def inputs_of(config: dict[str, Any], seed: int) -> dict[str, np.ndarray]:
    """Two texts, the second padded."""
    rng = np.random.default_rng(seed)
    ids = rng.integers(1, config["vocab_size"], (2, 7))
    mask = np.ones_like(ids)
    ids[1, 5:] = mask[1, 5:] = 0
    types_of = rng.integers(0, config["type_vocab_size"], ids.shape)
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": types_of}


# ------------------------------------------------------------------------------------------------- building


def encoder(config: dict[str, Any], own_pooler: bool) -> Any:
    names = {
        "vocab_size": "word_vocab_size",
        "embedding_size": "word_embed_size",
        "max_position_embeddings": "max_sequence_length",
        "num_hidden_layers": "num_blocks",
        "hidden_act": "intermediate_act_fn",
    }
    sizes = {names.get(n, n): v for n, v in config.items() if n not in ("classifier_activation", "num_labels")}
    return networks.MobileBERTEncoder(**sizes, classifier_activation=own_pooler)


def masked_lm(network: Any, config: dict[str, Any], **options: Any) -> Any:
    return layers.MobileBertMaskedLM(
        embedding_table=network.get_embedding_table(),
        activation=config.get("hidden_act", "relu"),
        name="cls/predictions",
        **options,
    )


def next_sentence(config: dict[str, Any]) -> Any:
    return layers.ClassificationHead(inner_dim=config["hidden_size"], num_classes=2, name="next_sentence")


def pretrainer(config: dict[str, Any], own_pooler: bool, heads: bool = True, name: str = "bert") -> Any:
    network = encoder(config, own_pooler)
    model = models.BertPretrainerV2(
        encoder_network=network,
        customized_masked_lm=masked_lm(network, config),
        classification_heads=[next_sentence(config)] if heads else [],
        name=name,
    )
    model(inputs_by_name(model))
    return model


def inputs_by_name(model: Any) -> dict[str, Any]:
    return {tensor.name: tensor for tensor in model.inputs}


def edgetpu(config: dict[str, Any], **options: Any) -> Any:
    """A stand-in for MobileBERTEdgeTPUPretrainer: functional, with the attributes that it sets afterwards."""

    class Pretrainer(tf.keras.Model):
        @property
        def checkpoint_items(self) -> dict[str, Any]:
            head = self.classification_heads[0]
            return {
                "encoder": self.encoder_network, "masked_lm": self.masked_lm,
                f"{head.name}.pooler_dense": head.dense,
            }  # fmt: skip

    network, head = encoder(config, False), next_sentence(config)
    mlm = masked_lm(network, config, **options)
    positions = tf.keras.layers.Input(shape=(None,), name="masked_lm_positions", dtype=tf.int32)
    outputs = network(network.inputs)
    outputs["mlm_logits"] = mlm(outputs["sequence_output"], masked_positions=positions)
    outputs["next_sentence"] = head(outputs["sequence_output"])
    model = Pretrainer(inputs=[*network.inputs, positions], outputs=outputs)
    model._config = {"encoder_network": network, "classification_heads": [head], "customized_masked_lm": mlm}
    model.encoder_network, model.masked_lm, model.classification_heads = network, mlm, [head]
    return model


# --------------------------------------------------------------------------------------------------- saving
# Each builds a model from a configuration and says of which objects a checkpoint is made: keywords of
# tf.train.Checkpoint, or a function that saves in another way.

Saved = tuple[Any, "dict[str, Any] | Callable[[Path], None]"]


def model_alone(config: dict[str, Any], own_pooler: bool) -> Saved:
    network = encoder(config, own_pooler)
    return network, {"model": network}


def encoder_alone(config: dict[str, Any], own_pooler: bool) -> Saved:
    network = encoder(config, own_pooler)
    return network, {"encoder": network}


def weights_alone(config: dict[str, Any], own_pooler: bool) -> Saved:
    network = encoder(config, own_pooler)
    return network, lambda folder: network.save_weights(str(folder / "ckpt"))


def pretrainer_as_model(config: dict[str, Any], own_pooler: bool) -> Saved:
    model = pretrainer(config, own_pooler)
    return model, {"model": model}


def checkpoint_items(config: dict[str, Any], own_pooler: bool) -> Saved:
    model = pretrainer(config, own_pooler)
    return model, model.checkpoint_items


def teacher_and_student(config: dict[str, Any], own_pooler: bool) -> Saved:
    """What a distillation exports: one model of both, optimizer, step, and the student's items."""
    other = {**config, **TEACHER, "normalization_type": "no_norm"}  # layer norm is for float32 alone
    teacher = pretrainer(other, False, heads=False, name="teacher")
    student = pretrainer(config, own_pooler, name="student")
    inputs = inputs_by_name(student)
    both = tf.keras.Model(inputs=inputs, outputs={"student": student(inputs), "teacher": teacher(inputs)})
    optimizer = tf.keras.optimizers.legacy.SGD(0.0, momentum=0.9)
    optimizer.apply_gradients([(tf.ones_like(v), v) for v in student.trainable_variables])
    step = tf.Variable(7, dtype=tf.int64, name="global_step")
    return student, {"global_step": step, "model": both, "optimizer": optimizer, **student.checkpoint_items}


def saved_model(config: dict[str, Any], own_pooler: bool) -> Saved:
    """What projects/mobilebert/export_tfhub.py exports, of which only the variables are kept."""
    chosen = {"use_bottleneck": True, "trigram_input": True, "num_attention_heads": 4, "hidden_act": "relu"}
    defaults = {"key_query_shared_bottleneck": True, "normalization_type": "no_norm"}
    described = model_utils.BertConfig.from_dict({**chosen, **defaults, **config, "classifier_activation": own_pooler})
    core, model = export_tfhub.create_mobilebert_model(described)

    def export(folder: Path) -> None:
        core.do_lower_case = tf.Variable(True, trainable=False)
        core.save(folder / "saved", include_optimizer=False, save_format="tf")
        for file in (folder / "saved" / "variables").iterdir():
            shutil.move(file, folder / file.name.replace("variables", "ckpt"))
        shutil.rmtree(folder / "saved")

    return model, export


def edgetpu_pretrainer(config: dict[str, Any], own_pooler: bool) -> Saved:
    model = edgetpu(config)
    return model, {"model": model}


def edgetpu_projection(config: dict[str, Any], own_pooler: bool) -> Saved:
    """The smallest EdgeTPU model's head, saved as items."""
    model = edgetpu(config, output_weights_use_proj=True)
    return model, model.checkpoint_items


def classifier(config: dict[str, Any], own_pooler: bool) -> Saved:
    network = encoder(config, own_pooler)
    model = models.BertClassifier(network, num_classes=config["num_labels"], use_encoder_pooler=False)
    return model, {"model": model, **model.checkpoint_items}


def token_classifier(config: dict[str, Any], own_pooler: bool) -> Saved:
    model = models.BertTokenClassifier(encoder(config, own_pooler), num_classes=config["num_labels"])
    return model, {"model": model}


def span_labeler(config: dict[str, Any], own_pooler: bool) -> Saved:
    model = models.BertSpanLabeler(encoder(config, own_pooler))
    return model, {"model": model, **model.checkpoint_items}


# ------------------------------------------------------------------------------------------------ recording


def outputs_of(model: Any, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Every output by its name there; those of every layer have their number behind the name."""
    names = {"input_ids": "input_word_ids", "attention_mask": "input_mask", "token_type_ids": "input_type_ids"}
    given = {names[n]: a.astype(np.int32) for n, a in inputs.items()}
    if any(t.name == "masked_lm_positions" for t in model.inputs):
        given["masked_lm_positions"] = np.tile(np.arange(inputs["input_ids"].shape[1], dtype=np.int32), (2, 1))
    found = model(given, training=False)
    if isinstance(found, list):
        found = dict(zip(("start_logits", "end_logits"), found, strict=True))
    elif not isinstance(found, dict):
        found = {"logits": found}
    arrays = {}
    for name, value in found.items():
        if isinstance(value, list):
            arrays |= {f"{name}.{i}": np.asarray(v) for i, v in enumerate(value)}
        else:
            arrays[name] = np.asarray(value)
    return arrays


def draw(model: Any) -> None:
    """Random weights everywhere, norms included: numbers that float32 holds, the same in every dtype."""
    rng = np.random.default_rng(0)
    for variable in model.variables:
        shape, leaf = tuple(variable.shape), variable.name.rpartition("/")[2]
        array = rng.standard_normal(shape)
        if leaf.startswith("gamma"):
            array = rng.uniform(0.6, 1.1, shape)
        elif leaf.startswith(("kernel", "extra", "output_weights")):
            array *= 0.5 * (shape[-1] / np.prod(shape)) ** 0.5
        elif not leaf.startswith("embeddings"):
            array *= 0.1
        variable.assign(array.astype(np.float32))


def record(name: str, case: Case, seed: int) -> None:
    build: Callable[[dict[str, Any], bool], Saved] = globals()[case.saved_as]
    folder = HERE / name
    folder.mkdir(parents=True)
    tf.keras.backend.clear_session()
    tf.keras.utils.set_random_seed(seed)
    model, objects = build(case.fields, case.own_pooler)
    draw(model)
    if isinstance(objects, dict):
        tf.train.Checkpoint(**objects).save(str(folder / "ckpt"))
    else:
        objects(folder)
    (folder / "checkpoint").unlink(missing_ok=True)
    tf.keras.backend.clear_session()
    tf.keras.backend.set_floatx(case.dtype)
    model, _ = build(case.fields, case.own_pooler)
    draw(model)
    inputs = inputs_of(case.fields, seed)
    outputs = outputs_of(model, inputs)
    tf.keras.backend.set_floatx("float32")
    if any(a.dtype != case.dtype for a in outputs.values()):
        raise SystemExit(f"{name}: Model Garden did not compute in {case.dtype}")
    arrays = {f"input.{n}": a for n, a in inputs.items()} | {f"output.{n}": a for n, a in outputs.items()}
    np.savez_compressed(folder / "outputs.npz", **arrays)


def graph_of(config: dict[str, Any]) -> tuple[bytes, dict[str, list[int]]]:
    """The object graph of a pretrainer as it is stored, and the shape of each variable by its full name."""
    tf.keras.backend.clear_session()
    model = pretrainer(config, config["classifier_activation"])
    with tempfile.TemporaryDirectory() as folder:
        saved = tf.train.load_checkpoint(tf.train.Checkpoint(model=model).save(f"{folder}/ckpt"))
        graph = saved.get_tensor("_CHECKPOINTABLE_OBJECT_GRAPH")
    return graph, {v.name.removesuffix(":0"): list(v.shape) for v in model.variables}


def write_params(path: Path) -> None:
    """The params.yaml of a pretraining run, written by Model Garden."""
    from official.core import exp_factory, train_utils
    from official.nlp.configs import pretraining_experiments  # noqa: F401  (registers the experiment)

    experiment = exp_factory.get_exp_config("bert/pretraining")
    mobilebert = {
        "word_vocab_size": 31, "word_embed_size": 5, "hidden_size": 12, "num_blocks": 3, "intermediate_size": 10,
        "intra_bottleneck_size": 8, "max_sequence_length": 11, "type_vocab_size": 3, "num_feedforward_networks": 2,
        "hidden_activation": "relu", "hidden_dropout_prob": 0.0, "key_query_shared_bottleneck": True,
        "normalization_type": "no_norm", "classifier_activation": False,
    }  # fmt: skip
    model = {"encoder": {"type": "mobilebert", "mobilebert": mobilebert}, "mlm_activation": "relu"}
    experiment.override({"task": {"model": model}})
    train_utils.serialize_config(experiment, str(path.parent))


def without_what_other_tasks_import() -> None:
    """Empty modules for the data sets and metrics that Model Garden imports, where they are not installed."""
    for name, module in (
        ("tensorflow_datasets", ""),
        ("seqeval", "metrics"),
        ("sklearn", "metrics"),
        ("sacrebleu", ""),
    ):
        if importlib.util.find_spec(name) is None:
            sys.modules[name] = types.ModuleType(name)
            if module:
                sys.modules[f"{name}.{module}"] = types.ModuleType(f"{name}.{module}")
                setattr(sys.modules[name], module, sys.modules[f"{name}.{module}"])


def main() -> None:
    without_what_other_tasks_import()
    shutil.rmtree(HERE, ignore_errors=True)
    for seed, (name, case) in enumerate(CASES.items()):
        record(name, case, seed)
    branches = {name: graph_of({**MINI, **fields}) for name, fields in LISTED.items()}
    variables = {name: shapes for name, (_, shapes) in branches.items()}
    (HERE / "variables.json").write_text(json.dumps(variables, indent=0) + "\n", encoding="utf-8")
    graphs = {name: np.frombuffer(graph, np.uint8) for name, (graph, _) in branches.items()}
    np.savez_compressed(HERE / "graphs.npz", **graphs)
    write_params(HERE / "params.yaml")


if __name__ == "__main__":
    main()
