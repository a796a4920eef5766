"""What public scripts call on a model of transformers 4.37.2: every name is there, or left out for a reason."""

from __future__ import annotations

import numpy as np
import pytest
from huggingface_hub.utils import HFValidationError

from mobilebert_core.errors import SaveError
from mobilebert_core.heads import HEADS
from mobilebert_core.hub.repository import HTTP_ERRORS  # read before `uploads`: it keeps the HfApi that it sees
from tests.backends.backend import built
from tests.tiny import TINY, tiny_config

# Of PreTrainedModel, TFPreTrainedModel and their mixins, without what only MobileBERT's own classes call.
BOTH = (
    "base_model", "base_model_prefix", "can_generate", "config", "config_class", "dtype", "dummy_inputs",
    "estimate_tokens", "floating_point_ops", "framework", "from_config", "from_pretrained", "generation_config",
    "get_input_embeddings", "get_memory_footprint", "get_output_embeddings", "gradient_checkpointing_disable",
    "gradient_checkpointing_enable", "is_gradient_checkpointing", "main_input_name", "name_or_path", "num_parameters",
    "prune_heads", "push_to_hub", "resize_token_embeddings", "save_pretrained", "set_input_embeddings", "vocab_size",
    "_from_config", "_keys_to_ignore_on_load_missing", "_keys_to_ignore_on_load_unexpected", "_keys_to_ignore_on_save",
)  # fmt: skip
ONE = {
    "torch": (
        "activation_checkpointing_disable", "activation_checkpointing_enable", "add_model_tags", "device",
        "disable_input_require_grads", "enable_input_require_grads", "get_extended_attention_mask", "get_head_mask",
        "init_weights", "invert_attention_mask", "is_activation_checkpointing", "is_parallelizable", "model_tags",
        "post_init", "set_attn_implementation", "set_output_embeddings", "supports_gradient_checkpointing",
        "tie_weights", "warnings_issued", "_init_weights", "_keep_in_fp32_modules", "_no_split_modules",
        "_tied_weights_keys",
    ),
    "keras": ("build", "compile", "compute_loss", "get_config", "train_step", "test_step", "export", "fit"),
}  # fmt: skip
LEFT_OUT = {
    "generate": "MobileBERT reads text, it does not write it; can_generate says so",
    "get_position_embeddings": "transformers has no such method for MobileBERT either: NotImplementedError",
    "resize_position_embeddings": "as get_position_embeddings",
    "create_extended_attention_mask_for_decoder": "there is no decoder",
    "add_memory_hooks": "the profilers of the frameworks measure more",
    "add_adapter": "peft.get_peft_model adapts PyTorch's models, enable_lora Keras's",
    "load_adapter": "peft.PeftModel.from_pretrained",
    "to_bettertransformer": "attention is the framework's fused one already",
    "register_for_auto_class": "no code is uploaded with a model",
    "retrieve_modules_from_names": "internal to loading",
    "warn_if_padding_and_no_attention_mask": "a model does not guess at a mask",
    "load_repo_checkpoint": "Keras: ResumeTraining continues a training",
    "create_model_card": "mobilebert train writes one",
    "prepare_tf_dataset": "Keras: text_dataset, or the data set's own to_tf_dataset",
    "serving_output": "Keras: export",
    "serving": "as serving_output",
    "eager_serving": "as serving_output",
    "input_signature": "Keras: the one that is passed to export",
    "build_in_name_scope": "a model of Keras 3 is built by its constructor",
    "get_lm_head": "Keras: get_output_embeddings",
    "get_bias": "Keras: a weight of get_output_embeddings' layer or of the predictions",
    "set_bias": "as get_bias",
    "get_prefix_bias_name": "as get_bias",
    "initialize_weights": "PyTorch: init_weights",
}


@pytest.mark.parametrize("head", HEADS)
def test_every_name_is_there_or_left_out(backend, head):
    model = built(backend, head)
    assert [name for name in (*BOTH, *ONE[backend.name]) if not hasattr(model, name)] == []
    assert [name for name in LEFT_OUT if hasattr(type(model), name)] == []
    assert type(model).can_generate() is False


@pytest.mark.parametrize("head", HEADS)
def test_dummy_inputs_run(backend, head):
    model = built(backend, head)
    output = model(**model.dummy_inputs) if backend.name == "torch" else model(model.dummy_inputs)
    assert len(output.to_tuple()) >= 1


def test_sizes_are_counted(backend, checkpoint):
    path = checkpoint("MaskedLM")
    model = backend.load("MaskedLM", path)
    weights = backend.parameters(model).values()
    assert model.get_memory_footprint() == 4 * sum(weight.size for weight in weights)
    words = sum(weight.size for weight in weights if weight.shape[0] == TINY["vocab_size"] and weight.ndim == 2)
    left = sum(weight.size for weight in weights) - words - (37 + 3) * 48
    ids = backend.array(np.ones((2, 5), np.int32))
    assert model.estimate_tokens({"input_ids": ids}) == 10 and model.estimate_tokens({}) == 0
    assert model.floating_point_ops({"input_ids": ids}) == 6 * 10 * left
    assert backend.load("MaskedLM", path, dtype="float64").get_memory_footprint() == 2 * model.get_memory_footprint()


def test_name_or_path_is_where_it_came_from(backend, checkpoint):
    path = checkpoint("Model")
    model = backend.load("Model", path)
    assert model.name_or_path == str(path) == model.config.name_or_path
    model.name_or_path = "other"
    assert model.config.name_or_path == "other"


class Uploads:
    """In place of huggingface_hub's HfApi: what was asked of it."""

    calls: list[tuple] = []  # noqa: RUF012

    def __init__(self, token=None):
        self.calls.append(("token", token))

    def create_repo(self, repo_id, **kwargs):
        self.calls.append(("create", repo_id, kwargs))
        return type("Url", (), {"repo_id": f"me/{repo_id}"})

    def create_branch(self, repo_id, branch, exist_ok):
        self.calls.append(("branch", repo_id, branch))

    def file_exists(self, repo_id, name):
        return False

    def upload_folder(self, repo_id, folder_path, **kwargs):
        from pathlib import Path

        files = {path.name: path.read_bytes() for path in sorted(Path(folder_path).iterdir())}
        self.calls.append(("upload", repo_id, files, kwargs))
        return "commit"


@pytest.fixture
def uploads(monkeypatch):
    monkeypatch.setattr("huggingface_hub.HfApi", Uploads)
    monkeypatch.setattr(Uploads, "calls", [])
    return Uploads.calls


@pytest.mark.parametrize("step", ["create_repo", "create_branch", "upload_folder"])
def test_pushing_without_a_hub_is_one_error(backend, monkeypatch, uploads, step):
    model = backend.build("Model", tiny_config(num_hidden_layers=1))
    for error in (ConnectionError("no route\nto it"), HTTP_ERRORS[1]("no name"), HFValidationError("no")):

        def fail(*_, error=error, **__):
            raise error

        monkeypatch.setattr(Uploads, step, fail)
        with pytest.raises(SaveError, match="push_to_hub: wanted the repository me/x at https.*nothing was uploaded"):
            model.push_to_hub("me/x", revision="dev")


def test_pushing_uploads_what_saving_writes(backend, tmp_path, uploads):
    model = backend.build("MaskedLM", tiny_config(num_hidden_layers=1))
    model.save_pretrained(tmp_path / "mine", push_to_hub=True, token="secret", revision="dev", private=True)
    expected = {path.name: path.read_bytes() for path in (tmp_path / "mine").iterdir()}
    assert uploads[0] == ("token", "secret")
    assert uploads[1] == ("create", "mine", {"private": True, "exist_ok": True})
    assert uploads[2] == ("branch", "me/mine", "dev")
    (_, repository, files, kwargs) = uploads[3]
    assert repository == "me/mine" and files == expected and kwargs["revision"] == "dev"
    del uploads[:]
    assert model.push_to_hub("named", tags=["small"], commit_message="One more") == "commit"
    (_, repository, files, kwargs) = uploads[-1]
    assert repository == "me/named" and kwargs["commit_message"] == "One more"
    assert files["model.safetensors"] == expected["model.safetensors"] and b"- small" in files["README.md"]
    del uploads[:]
    model.save_pretrained(tmp_path / "quiet", push_to_hub=False, token=None, repo_id="other")
    model.config.push_to_hub("settings")
    assert [call[2].keys() for call in uploads if call[0] == "upload"] == [{"config.json"}]
