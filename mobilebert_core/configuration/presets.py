"""The published architectures, as the fields in which each differs from the defaults of the config.

Sources: the configuration files of the released TF1 code, tables 1 and 4 of arXiv 2004.02984, and the
EdgeTPU variants of the TensorFlow Model Garden. Counts are of the encoder without its pooler.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Preset:
    """One published architecture: what it is, its fields, and its number of encoder parameters."""

    description: str
    fields: dict[str, Any]
    encoder_parameters: int


# The released student reads the raw first token; the defaults of the config would add a dense layer and tanh.
_RELEASED = {"classifier_activation": False}
_EDGETPU = {**_RELEASED, "intra_bottleneck_size": 256, "intermediate_size": 1024}

PRESETS: dict[str, Preset] = {
    "mobilebert": Preset("MobileBERT as released (uncased_L-24_H-128_B-512_A-4_F-4_OPT)", _RELEASED, 24_581_888),
    "mobilebert-qat": Preset(
        "MobileBERT prepared for quantization-aware training", {**_RELEASED, "hidden_act": "relu6"}, 24_581_888
    ),
    "mobilebert-without-opt": Preset(
        "MobileBERT before its operational optimizations: layer norm and gelu (paper, section 3.4.3)",
        {**_RELEASED, "normalization_type": "layer_norm", "hidden_act": "gelu"},
        24_581_888,
    ),
    "mobilebert-tiny": Preset(
        "MobileBERT_TINY: attention on the bottleneck, two feed-forward networks",
        {
            **_RELEASED,
            "use_bottleneck_attention": True,
            "key_query_shared_bottleneck": False,
            "num_feedforward_networks": 2,
        },
        15_485_696,
    ),
    "ib-bert-large": Preset(
        "IB-BERT_LARGE, the teacher with inverted bottlenecks (uncased_L-24_H-1024_B-512_A-4)",
        {
            "intra_bottleneck_size": 1024,
            "intermediate_size": 4096,
            "num_feedforward_networks": 1,
            "normalization_type": "layer_norm",
            "hidden_act": "gelu_new",
            "hidden_dropout_prob": 0.1,
            "key_query_shared_bottleneck": False,
        },
        294_205_184,
    ),
    "mobilebert-edgetpu-xs": Preset("MobileBERT-EdgeTPU-XS", {**_EDGETPU, "num_hidden_layers": 8}, 27_006_720),
    "mobilebert-edgetpu-s": Preset("MobileBERT-EdgeTPU-S", {**_EDGETPU, "num_hidden_layers": 12}, 38_326_016),
    "mobilebert-edgetpu-m": Preset(
        "MobileBERT-EdgeTPU-M", {**_EDGETPU, "num_hidden_layers": 12, "num_feedforward_networks": 6}, 50_951_936
    ),
}
