"""The name under which Keras finds the classes of this package again in its files."""

from __future__ import annotations

import keras

from mobilebert_core.checkpoints.names.keras import PACKAGE

serializable = keras.saving.register_keras_serializable(package=PACKAGE)
