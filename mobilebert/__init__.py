"""MobileBERT in PyTorch and Keras 3: pipelines, configuration, tokenizers and a trained model to start with.

    import mobilebert

    classify = mobilebert.pipeline("text-classification")
    classify("I love this!")

The models are in `mobilebert_torch` and `mobilebert_tf`. Importing this package loads no framework; each is imported
by the call that needs it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mobilebert_core.lazy import lazy_names

if TYPE_CHECKING:
    from mobilebert_core.configuration.config import Config as Config
    from mobilebert_core.configuration.config import MobileBertConfig as MobileBertConfig
    from mobilebert_core.demo_model import DEMO_MODEL as DEMO_MODEL
    from mobilebert_core.errors import MobileBertError as MobileBertError
    from mobilebert_core.text.auto_tokenizer import AutoTokenizer as AutoTokenizer
    from mobilebert_core.text.tokenization import MobileBertTokenizer as MobileBertTokenizer
    from mobilebert_core.text.tokenization_fast import MobileBertTokenizerFast as MobileBertTokenizerFast

    from .pipelines import MobileBertPipeline as MobileBertPipeline
    from .pipelines import pipeline as pipeline
    from .training import Training as Training

__version__ = "0.1.0"

_EXPORTS = {
    "AutoTokenizer": "mobilebert_core.text.auto_tokenizer",
    "Config": "mobilebert_core.configuration.config",
    "DEMO_MODEL": "mobilebert_core.demo_model",
    "MobileBertConfig": "mobilebert_core.configuration.config",
    "MobileBertError": "mobilebert_core.errors",
    "MobileBertPipeline": ".pipelines",
    "MobileBertTokenizer": "mobilebert_core.text.tokenization",
    "MobileBertTokenizerFast": "mobilebert_core.text.tokenization_fast",
    "Training": ".training",
    "pipeline": ".pipelines",
}

__all__ = ["__version__", *_EXPORTS]

if not TYPE_CHECKING:  # a module-level __getattr__ would give every unknown name the type Any
    __getattr__, __dir__ = lazy_names(__name__, _EXPORTS)
