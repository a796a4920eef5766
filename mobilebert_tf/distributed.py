"""Losses under `tf.distribute`, where each replica sees a part of the batch and Keras adds up their gradients.

Twin: mobilebert_torch/distributed.py, whose replicas are processes.
"""

from __future__ import annotations

from typing import Any, NoReturn

import keras
from keras import ops

from mobilebert_core.errors import ConfigError
from mobilebert_core.processes import Launch


def counted(count: Any) -> Any:
    """What a sum of losses is divided by: how many there are, at least 1.

    Under a strategy it is the mean number of all replicas, so that the mean of their losses is that of one device
    with the whole batch, also where labels of -100 fall unevenly on the replicas.
    """
    context = _context()
    if context is None:
        return ops.maximum(count, 1)
    import tensorflow as tf

    return ops.maximum(context.all_reduce(tf.distribute.ReduceOp.SUM, count), 1) / context.num_replicas_in_sync


def join(launch: Launch, device: Any = None, shard: bool = False) -> NoReturn:
    """Raises ConfigError: Keras 3 on TensorFlow trains on the devices of one machine, in one process."""
    raise ConfigError(
        f"train: wanted one process, got {launch.count}: Keras 3 on TensorFlow does not train over several processes, "
        "only on several devices of one machine (tf.distribute.MirroredStrategy, with compile and fit). Start the "
        "command once, or with --backend torch."
    )


def for_one_replica(loss: Any) -> Any:
    """A replica's share of the loss: gradients are added up over replicas, and Keras reports the sum of shares."""
    context = _context()
    return loss if context is None else loss / context.num_replicas_in_sync


def _context() -> Any:
    """TensorFlow's replica context; None on other backends, without a strategy or with one replica."""
    if keras.backend.backend() != "tensorflow":
        return None
    import tensorflow as tf

    context = tf.distribute.get_replica_context() if tf.distribute.has_strategy() else None
    return None if context is None or context.num_replicas_in_sync == 1 else context
