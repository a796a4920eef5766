"""`mobilebert parity`: from a checkpoint and texts to a table, a JSON file and a picture."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

from tqdm import tqdm

from conversion.exports.parity import compare_exported
from conversion.exports.record import ExportRecord, is_exported
from conversion.parity.deviation import Report, check_tolerance, compare
from conversion.parity.report import figures, plot, table
from conversion.parity.sample import SENTENCES, batch_of, random_checkpoint
from mobilebert_core.checkpoints.detect_heads import detect_heads
from mobilebert_core.checkpoints.opening import as_one, open_checkpoint
from mobilebert_core.configuration.config import MobileBertConfig
from mobilebert_core.configuration.fields import DTYPES
from mobilebert_core.configuration.presets import PRESETS
from mobilebert_core.demo_model import DEMO_MODEL
from mobilebert_core.errors import BackendMissingError, CheckpointError, ConfigError
from mobilebert_core.files import VOCABULARY_FILES, same_file, write_text
from mobilebert_core.heads import HEADS, Head, heads_named
from mobilebert_core.hub.resolve import resolve
from mobilebert_core.places import in_the_way
from mobilebert_core.processes import check_one_process
from mobilebert_core.saves import current
from mobilebert_core.text.tokenization_fast import MobileBertTokenizerFast
from mobilebert_core.weights import parameter_count, weight_table

from .arguments import is_preset
from .model_files import model_files

# Options that an export has no use for, and what they are where they are not passed.
_OF_CHECKPOINTS = {"head": None, "dtype": ["float32"], "no_gradients": False, "seed": 0, "hidden_scale": 1.0}
PICTURES = (".png", ".svg", ".pdf", ".jpg")


def add_parity(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "parity",
        help="measure whether PyTorch and Keras compute the same numbers from a checkpoint",
        description=(
            "Loads a checkpoint into PyTorch and Keras, runs both on the same texts and compares every state, "
            "attention, score, loss and gradient. A deviation is relative to the largest value of its token. "
            "Exits with 1 when one is beyond the tolerance."
        ),
    )
    parser.add_argument(
        "checkpoint", nargs="?", metavar="CHECKPOINT",
        help="directory of config.json and weights, a name on the Hugging Face hub, an exported directory, or a preset "
        "such as mobilebert for seeded random weights (default: the demo model that ships with the package)",
    )  # fmt: skip
    parser.add_argument(
        "--source", metavar="MODEL", help="of an exported directory: the checkpoint that it was made from"
    )
    parser.add_argument("--text", nargs="+", metavar="TEXT", help="texts to run on (default: four sentences)")
    parser.add_argument("--head", choices=list(HEADS), help="model class (default: what the checkpoint holds)")
    parser.add_argument("--dtype", nargs="+", choices=DTYPES, default=["float32"], help="default float32")
    parser.add_argument(
        "--tolerance",
        type=float,
        help="largest deviation allowed (default 1e-10 in float64, 1e-5 in float32; "
        "gradients of relu in float32 1e-2, since rounding decides on which side of 0 an input lies)",
    )
    parser.add_argument("--no-gradients", action="store_true", help="compare the forward pass only")
    parser.add_argument("--seed", type=int, default=0, help="of the random weights and labels (default 0)")
    parser.add_argument(
        "--hidden-scale", type=float, default=1.0, metavar="S",
        help="size of the random model's hidden states (the released one reaches 2.5e7)",
    )  # fmt: skip
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the measurement as JSON")
    parser.add_argument("--plot", type=Path, metavar="FILE",
                        help=f"draw deviation against depth ({', '.join(PICTURES)})")  # fmt: skip
    parser.set_defaults(run=run_parity)


def run_parity(options: argparse.Namespace) -> int:
    """Prints one table a dtype; returns 0 when all are within the tolerance, 1 otherwise."""
    check_one_process("parity")
    if options.plot and options.plot.suffix.lower() not in PICTURES:
        raise ConfigError(f"--plot {options.plot}: wanted a file that ends in {', '.join(PICTURES)}.")
    _check_outputs(options)
    check_tolerance(options.tolerance)
    if options.seed < 0:
        raise ConfigError(f"parity: seed must be at least 0, got {options.seed}.")
    if not 0 < options.hidden_scale < float("inf"):
        raise ConfigError(f"parity: hidden_scale must be a number above 0, got {options.hidden_scale}.")
    if options.plot:
        figures()  # that it can be drawn is known before anything is computed
    reports: list[Report] = []
    if is_exported(options.checkpoint):
        reports.append(as_one(options.checkpoint, lambda: _measure_export(options)))
        print(table(reports[0]))
        return _finished(options, reports)
    if options.source is not None:
        got = options.checkpoint or "the demo model"
        raise ConfigError(f"--source is for an exported directory, got {got}. Leave it out.")
    with tempfile.TemporaryDirectory() as scratch:
        checkpoint, config, head = _checkpoint(options, Path(scratch))  # what is wrong with it is said at once
        torch_classes, keras_classes = _backends()
        batch = batch_of(_tokenizer(checkpoint), options.text or SENTENCES, config, head, options.seed)
        count = parameter_count(weight_table(config, head))
        source = options.checkpoint or "the demo model"
        if checkpoint == Path(scratch):
            source += f", random weights, seed {options.seed}"
        print(f"{head.class_name}, {count:,} parameters, from {source}")
        print(f"input_ids {batch['input_ids'].shape}, {int(batch['attention_mask'].sum())} tokens\n")
        with tqdm(total=5 * len(options.dtype), disable=None, file=sys.stderr, leave=False) as bar:
            for dtype in options.dtype:
                reports.append(_measure(options, checkpoint, head, batch, dtype, torch_classes, keras_classes, bar))
                tqdm.write(table(reports[-1]) + "\n", file=sys.stdout)
    return _finished(options, reports)


def _finished(options: argparse.Namespace, reports: list[Report]) -> int:
    if options.json:
        _save_json(reports, options.json)
    if options.plot:
        plot(reports, options.plot)
    return 0 if all(report.ok for report in reports) else 1


def _check_outputs(options: argparse.Namespace) -> None:
    """Raises a ConfigError for an output in the place of a file of the checkpoint, or of the other output."""
    models = [place for place in (options.checkpoint or DEMO_MODEL, options.source) if place is not None]
    read = [path for place in models for path in model_files(place)]
    for option, place in (("--json", options.json), ("--plot", options.plot)):
        found = None if place is None else in_the_way(place)
        if place is not None and (found or any(same_file(place, each) for each in read)):
            what = f"{found}; wanted a file" if found else "a file of the checkpoint"
            raise ConfigError(f"parity: {option} {place} is {what}. Choose another file; nothing was written.")
    if options.json and options.plot and options.json.resolve() == options.plot.resolve():
        raise ConfigError(f"parity: --json and --plot are both {options.json}. Choose two files; nothing was written.")


def _measure_export(options: argparse.Namespace) -> Report:
    """An exported directory against its source."""
    directory = Path(options.checkpoint)
    record = ExportRecord.read(directory)
    record.check_tokenizer(directory)
    for name, usual in _OF_CHECKPOINTS.items():
        if getattr(options, name) != usual:
            raise ConfigError(
                f"--{name.replace('_', '-')} is for a checkpoint: {directory} is an export, whose file says what is "
                "computed. Leave it out."
            )
    if options.source is None:
        raise ConfigError(
            f"{directory}: wanted what it was made from as well ({record.source.get('name')}). Pass it: --source."
        )
    config = MobileBertConfig.from_pretrained(directory)
    limit = record.length or config.max_position_embeddings
    batch = batch_of(
        _tokenizer(directory), options.text or SENTENCES, config.copy(max_position_embeddings=limit), record.head_row
    )
    return compare_exported(directory, options.source, batch, options.tolerance)


def _measure(
    options: argparse.Namespace,
    checkpoint: Path,
    head: Head,
    batch: dict[str, Any],
    dtype: str,
    torch_classes: dict[str, Any],
    keras_classes: dict[str, Any],
    bar: tqdm,
) -> Report:
    def step(name: str) -> None:
        bar.set_description(f"{dtype} {name}")
        bar.update()

    def loaded() -> tuple[Any, Any]:
        bar.set_description(f"{dtype} loads")
        first = torch_classes[head.name].from_pretrained(checkpoint, dtype=dtype)
        return first, keras_classes[head.name].from_pretrained(checkpoint, dtype=dtype)

    torch_model, keras_model = as_one(checkpoint, loaded)
    bar.update(2)
    gradients = not options.no_gradients
    return compare(torch_model, keras_model, batch, options.tolerance, gradients=gradients, progress=step)


def _backends() -> tuple[dict[str, Any], dict[str, Any]]:
    try:
        import mobilebert_torch
    except ImportError as e:
        raise BackendMissingError(
            f"parity compares two frameworks and needs both ({e}). Install them: pip install 'mobilebert[all]'."
        ) from e
    import mobilebert_tf

    return mobilebert_torch.MODEL_CLASSES, mobilebert_tf.MODEL_CLASSES


def _checkpoint(options: argparse.Namespace, scratch: Path) -> tuple[Path, MobileBertConfig, Head]:
    name = options.checkpoint
    if name is not None and is_preset(name):
        head = HEADS[options.head or "PreTraining"]
        config = MobileBertConfig.from_preset(name)
        random_checkpoint(config, head, scratch, options.seed, options.hidden_scale)
        return scratch, config, head
    if options.hidden_scale != 1.0:
        got = name or "the demo model"
        raise ConfigError(
            f"--hidden-scale is for the random weights of a preset, one of {', '.join(PRESETS)}, got {got}. Leave it "
            "out."
        )
    folder = resolve(DEMO_MODEL if name is None else name, config=True, weights=True, tokenizer=True)
    config = MobileBertConfig.from_pretrained(folder)
    if options.head:
        _check_held(folder, config, HEADS[options.head])
    return folder, config, HEADS[options.head or _head_of(config)]


def _check_held(checkpoint: Path, config: MobileBertConfig, head: Head) -> None:
    """Raises CheckpointError for a head without weights, which each framework would draw by itself."""
    held = detect_heads(open_checkpoint(checkpoint).weights(config), config)
    if head not in held:
        raise CheckpointError(
            f"{checkpoint}: the weights of {head.name} are not all there; it holds {', '.join(h.name for h in held)}."
        )


def _head_of(config: MobileBertConfig) -> str:
    """The head that config.json names, or the bare model."""
    named = heads_named(config.architectures)
    return named[0].name if named else "Model"


def _tokenizer(checkpoint: Path) -> MobileBertTokenizerFast:
    own = any(current(checkpoint / name).is_file() for name in VOCABULARY_FILES)
    return MobileBertTokenizerFast.from_pretrained(checkpoint if own else DEMO_MODEL)


def _save_json(reports: list[Report], path: Path) -> None:
    if len(reports) == 1:
        reports[0].save_json(path)
        return
    write_text(path, "[\n" + ",\n".join(report.to_json().rstrip() for report in reports) + "\n]\n")
