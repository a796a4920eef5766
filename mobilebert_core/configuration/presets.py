"""The published architectures, and small ones, as the fields in which each differs from the defaults of the config.

Sources: the configuration files of the released TF1 code, tables 1 and 4 of arXiv 2004.02984, and the
EdgeTPU variants of the TensorFlow Model Garden. Counts are of the encoder without its pooler.

Students learn from teachers of the same width between the blocks, with as many blocks and heads:

| teacher         | inside | feed-forward | parameters | student           | inside | feed-forward | parameters |
|-----------------|--------|--------------|------------|-------------------|--------|--------------|------------|
| ib-bert-large   | 1024   | 4096         | 294.5M     | mobilebert        | 128    | 4 x 512      | 24.6M      |
| ib-bert-12x256  | 512    | 2048         | 37.5M      | mobilebert-12x256 | 64     | 4 x 256      | 3.8M       |
| ib-bert-8x256   | 512    | 1024         | 17.0M      | mobilebert-8x256  | 64     | 4 x 256      | 3.0M       |
| ib-bert-6x256   | 384    | 1024         | 9.3M       | mobilebert-6x256  | 64     | 4 x 256      | 2.0M       |
| ib-bert-6x192   | 256    | 1024         | 5.7M       | mobilebert-6x192  | 64     | 2 x 256      | 1.4M       |
| ib-bert-4x256   | 384    | 1024         | 7.0M       | mobilebert-4x256  | 64     | 2 x 256      | 1.8M       |

The published pair is the first one; the others are small enough to train on one machine, with 8,000 words.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Preset:
    """One architecture: what it is, its fields, its number of encoder parameters, and the preset it may learn from."""

    description: str
    fields: dict[str, Any]
    encoder_parameters: int
    teacher: str | None = None


# The released student reads the raw first token; the defaults of the config would add a dense layer and tanh.
_RELEASED = {"classifier_activation": False}
# IB-BERT: inverted bottlenecks, wider inside the blocks than between them (paper, section 3.2).
_IB_BERT = {
    "num_feedforward_networks": 1,
    "normalization_type": "layer_norm",
    "hidden_act": "gelu_new",
    "hidden_dropout_prob": 0.1,
    "key_query_shared_bottleneck": False,
}
_EDGETPU = {**_RELEASED, "intra_bottleneck_size": 256, "intermediate_size": 1024}

PRESETS: dict[str, Preset] = {
    "mobilebert": Preset(
        "MobileBERT as released (uncased_L-24_H-128_B-512_A-4_F-4_OPT)", _RELEASED, 24_581_888, "ib-bert-large"
    ),
    "mobilebert-qat": Preset(
        "MobileBERT prepared for quantization-aware training", {**_RELEASED, "hidden_act": "relu6"}, 24_581_888
    ),
    "mobilebert-without-opt": Preset(
        "MobileBERT before its operational optimizations: layer norm and gelu (paper, section 3.4.3)",
        {**_RELEASED, "normalization_type": "layer_norm", "hidden_act": "gelu"},
        24_581_888,
        "ib-bert-large",
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
        "ib-bert-large",
    ),
    "ib-bert-large": Preset(
        "IB-BERT_LARGE, the teacher with inverted bottlenecks (uncased_L-24_H-1024_B-512_A-4)",
        {**_IB_BERT, "intra_bottleneck_size": 1024, "intermediate_size": 4096},
        294_205_184,
    ),
    "mobilebert-edgetpu-xs": Preset("MobileBERT-EdgeTPU-XS", {**_EDGETPU, "num_hidden_layers": 8}, 27_006_720),
    "mobilebert-edgetpu-s": Preset("MobileBERT-EdgeTPU-S", {**_EDGETPU, "num_hidden_layers": 12}, 38_326_016),
    "mobilebert-edgetpu-m": Preset(
        "MobileBERT-EdgeTPU-M", {**_EDGETPU, "num_hidden_layers": 12, "num_feedforward_networks": 6}, 50_951_936
    ),
}


def _small_pair(name: str, blocks: int, hidden: int, embedding: int, inner: int, feed_forward: int, networks: int,
                counts: tuple[int, int]) -> dict[str, Preset]:  # fmt: skip
    """A small teacher and its student, both with heads of the same number."""
    both = {
        "vocab_size": 8000, "num_hidden_layers": blocks, "hidden_size": hidden, "embedding_size": embedding,
        "classifier_activation": False,
    }  # fmt: skip
    teacher = {**both, **_IB_BERT, "intra_bottleneck_size": inner, "intermediate_size": feed_forward}
    student = {
        **both, "intra_bottleneck_size": 64, "intermediate_size": 256, "num_feedforward_networks": networks,
    }  # fmt: skip
    size = f"{blocks} blocks, {hidden} between and {{}} inside them"
    return {
        f"ib-bert-{name}": Preset(f"a small IB-BERT: {size.format(inner)}", teacher, counts[0]),
        f"mobilebert-{name}": Preset(f"a small MobileBERT: {size.format(64)}", student, counts[1], f"ib-bert-{name}"),
    }


PRESETS |= (
    _small_pair("12x256", 12, 256, 128, 512, 2048, 4, (37_538_048, 3_801_344))
    | _small_pair("8x256", 8, 256, 128, 512, 1024, 4, (17_046_784, 2_952_448))
    | _small_pair("6x256", 6, 256, 64, 384, 1024, 4, (9_284_352, 1_966_848))
    | _small_pair("6x192", 6, 192, 64, 256, 1024, 2, (5_689_664, 1_423_424))
    | _small_pair("4x256", 4, 256, 128, 384, 1024, 2, (6_981_888, 1_837_824))
)
