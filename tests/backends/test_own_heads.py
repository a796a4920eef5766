"""Classes that users derive from ours: their own weights are initialized, saved and loaded beside the table's."""

from __future__ import annotations

import numpy as np
import pytest

from mobilebert_core.configuration.config import MobileBertConfig
from mobilebert_core.errors import CheckpointError, ConfigError
from tests.tiny import tiny_config


def torch_classes():
    import torch

    from mobilebert_torch import MobileBertForSequenceClassification, MobileBertModel, MobileBertPreTrainedModel

    class Ranker(MobileBertPreTrainedModel):
        def __init__(self, config, outputs=3):
            super().__init__(config)
            self.mobilebert = MobileBertModel(config)
            self.out = torch.nn.Linear(config.hidden_size, outputs)
            self.post_init()

        def forward(self, input_ids=None, attention_mask=None):
            return self.out(self.mobilebert(input_ids, attention_mask).pooler_output)

    class Scaled(MobileBertForSequenceClassification):
        def __init__(self, config):
            super().__init__(config)
            self.scale = torch.nn.Parameter(torch.full((1,), 2.0))

    class Headless(MobileBertPreTrainedModel):
        pass

    return Ranker, Scaled, Headless


def keras_classes():
    import keras

    from mobilebert_tf import (
        TFMobileBertForSequenceClassification,
        TFMobileBertMainLayer,
        TFMobileBertPreTrainedModel,
    )

    class Ranker(TFMobileBertPreTrainedModel):
        outputs = 3

        def build_parts(self, config, *, initializer, dtype):
            self.mobilebert = TFMobileBertMainLayer(config, True, initializer=initializer, dtype=dtype)
            self.out = keras.layers.Dense(self.outputs, dtype=dtype)
            self.out.build((None, config.hidden_size))

        def call(self, input_ids=None, attention_mask=None, training=None):
            return self.out(self.mobilebert(input_ids, attention_mask).pooler_output)

    class Scaled(TFMobileBertForSequenceClassification):
        def build_parts(self, config, *, initializer, dtype):
            super().build_parts(config, initializer=initializer, dtype=dtype)
            self.scale = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")
            self.scale.build((None, 1))

    class Headless(TFMobileBertPreTrainedModel):
        def build_parts(self, config, *, initializer, dtype):
            self.out = keras.layers.Dense(1)
            self.out.build((None, 2))

    return Ranker, Scaled, Headless


@pytest.fixture
def classes(backend):
    return torch_classes() if backend.name == "torch" else keras_classes()


def values(backend, model):
    ids = backend.array(np.arange(1, 9, dtype=np.int64).reshape(2, 4))
    return backend.numpy(model(input_ids=ids))


def test_an_own_head_starts_from_any_checkpoint_and_survives(backend, classes, checkpoint, tmp_path, caplog):
    ranker = classes[0].from_pretrained(checkpoint("PreTraining"))
    assert "class's own are not in the checkpoint" in caplog.text and "out." in caplog.text
    caplog.clear()
    ranker.save_pretrained(tmp_path / "ranker")
    again, info = classes[0].from_pretrained(tmp_path / "ranker", output_loading_info=True)
    assert caplog.text == "" and not any(info.values())
    assert again.config.architectures == ["Ranker"]
    np.testing.assert_array_equal(values(backend, again), values(backend, ranker))
    base = backend.load("Model", tmp_path / "ranker", allow_unknown=own_names(backend))
    assert base.num_parameters() < ranker.num_parameters()


def own_names(backend):
    return ["out.weight", "out.bias"] if backend.name == "torch" else ["out.kernel", "out.bias"]


class ConfigOfMine(MobileBertConfig):
    def __init__(self, outputs=3, **kwargs):
        super().__init__(**kwargs)
        self.outputs = outputs


def test_a_class_has_configurations_of_its_own_class(backend, classes, checkpoint, tmp_path):
    class Mine(classes[1]):
        config_class = ConfigOfMine

    place = checkpoint("SequenceClassification")
    mine = Mine.from_pretrained(place, outputs=5, classifier_dropout=0.5)
    assert type(mine.config) is ConfigOfMine and mine.config.name_or_path == str(place)
    assert (mine.config.outputs, Mine.from_pretrained(place).config.outputs) == (5, 3)
    assert Mine.from_pretrained(place, config=place, outputs=4).config.outputs == 4
    mine.save_pretrained(tmp_path / "mine")
    assert Mine.from_pretrained(tmp_path / "mine").config.outputs == 5
    if backend.name == "keras":
        assert type(Mine.from_config(mine.get_config()).config) is ConfigOfMine
    with pytest.raises(ConfigError, match="no such keyword: 'outptus'; did you mean 'outputs'"):
        Mine.from_pretrained(place, outptus=5)


def test_what_is_added_to_one_of_our_heads_is_kept(backend, classes, checkpoint, tmp_path):
    scaled = classes[1].from_pretrained(checkpoint("SequenceClassification"))
    if backend.name == "torch":
        scaled.scale.data.fill_(7.0)
    else:
        scaled.scale.kernel.assign([[7.0]])
    scaled.save_pretrained(tmp_path / "scaled")
    again = classes[1].from_pretrained(tmp_path / "scaled")
    found = again.scale if backend.name == "torch" else again.scale.kernel
    assert backend.numpy(found).ravel().tolist() == [7.0]
    with pytest.raises(CheckpointError, match="no place for the class's own scale"):
        scaled.save_pretrained(tmp_path / "other", safe_serialization=False)


def test_whole_numbers_of_a_class_stay_whole(backend, classes, checkpoint, tmp_path):
    """Such as the count of batches in a BatchNorm: no float32 holds this one."""
    many = 2**53 + 1

    class Counted(classes[1]):
        def __init__(self, config, *args, **kwargs):
            super().__init__(config, *args, **kwargs)
            if backend.name == "torch":
                import torch

                self.register_buffer("count", torch.tensor(0))

        def build_parts(self, config, **kwargs):
            import keras

            super().build_parts(config, **kwargs)
            self.counter = keras.layers.Layer(name="counter")
            self.count = self.counter.add_weight(shape=(), dtype="int64", trainable=False, name="count")

    counted = Counted.from_pretrained(checkpoint("SequenceClassification"))
    counted.count.fill_(many) if backend.name == "torch" else counted.count.assign(many)
    counted.save_pretrained(tmp_path / "counted")
    assert int(Counted.from_pretrained(tmp_path / "counted").count) == many


def test_another_shape_is_an_error(backend, classes, checkpoint, tmp_path):
    ranker = classes[0].from_pretrained(checkpoint("Model"))
    ranker.save_pretrained(tmp_path / "ranker")
    kwargs = {"outputs": 4} if backend.name == "torch" else {}
    if backend.name == "keras":
        classes[0].outputs = 4
    with pytest.raises(CheckpointError, match=r"out\.(weight|kernel) wanted .*, the file has"):
        classes[0].from_pretrained(tmp_path / "ranker", **kwargs)
    other = classes[0].from_pretrained(tmp_path / "ranker", ignore_mismatched_sizes=True, **kwargs)
    assert values(backend, other).shape == (2, 4)


def test_a_class_without_mobilebert_says_so(classes, checkpoint):
    with pytest.raises(ConfigError, match="under the name `mobilebert`"):
        classes[2].from_pretrained(checkpoint("Model"))


def test_a_class_without_a_head_counts_and_prints(backend, classes):
    ranker = classes[0](tiny_config(num_hidden_layers=1))
    assert ranker.num_parameters() > 0 and "Ranker" in type(ranker).__name__


class TestIgnoredNames:
    """Names of a class's own that transformers does not mind: expressions on loading, whole names on saving."""

    def test_what_may_be_missing_starts_anew_without_a_word(self, backend, classes, checkpoint, caplog):
        path = checkpoint("SequenceClassification")
        classes[1]._keys_to_ignore_on_load_missing = [r"^scale", "classifier"]
        _, info = classes[1].from_pretrained(path, output_loading_info=True)
        assert caplog.text == "" and not any(info.values())
        base = checkpoint("Model")
        model, info = classes[1].from_pretrained(base, output_loading_info=True)
        assert caplog.text == "" and info["missing_keys"] == []
        assert np.isfinite(backend.numpy(model(**model.dummy_inputs).logits)).all()
        classes[1]._keys_to_ignore_on_load_missing = "scale"
        _, info = classes[1].from_pretrained(base, output_loading_info=True)
        assert "scale" not in caplog.text and info["missing_keys"] == ["classifier.weight", "classifier.bias"]

    def test_what_may_be_unexpected_stays_in_the_file(self, backend, classes, checkpoint, tmp_path):
        classes[0].from_pretrained(checkpoint("PreTraining")).save_pretrained(tmp_path)
        scaled = classes[1]
        with pytest.raises(CheckpointError, match="2 unknown"):
            scaled.from_pretrained(tmp_path)
        scaled._keys_to_ignore_on_load_unexpected = [r"^out\."]
        _, info = scaled.from_pretrained(tmp_path, output_loading_info=True)
        assert info["unexpected_keys"] == []
        scaled._keys_to_ignore_on_load_unexpected = ["cls.pred"]
        _, info = scaled.from_pretrained(checkpoint("PreTraining"), output_loading_info=True)
        assert info["unexpected_keys"] == ["cls.seq_relationship.weight", "cls.seq_relationship.bias"]

    def test_what_is_not_saved(self, backend, classes, checkpoint, tmp_path, caplog):
        ranker = classes[0].from_pretrained(checkpoint("PreTraining"))
        classes[0]._keys_to_ignore_on_save = own_names(backend)[1:]
        caplog.clear()
        ranker.save_pretrained(tmp_path)
        classes[0].from_pretrained(tmp_path)
        assert "use: out.bias" in caplog.text and own_names(backend)[0] not in caplog.text

    def test_what_is_no_expression_is_an_error(self, classes, checkpoint):
        classes[0]._keys_to_ignore_on_load_missing = ["("]
        with pytest.raises(ConfigError, match=r"_keys_to_ignore_on_load_missing: wanted regular expressions, got '\('"):
            classes[0].from_pretrained(checkpoint("Model"))
