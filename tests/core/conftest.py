"""What several tests of core start from: the small vocabulary of the recordings, and whole files of Keras."""

from __future__ import annotations

import pytest

from tests.core.keras_files import whole_archive, whole_weights
from tests.core.tokenizers import CLASSES, write_vocabulary
from tests.tiny import tiny_config


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory):
    return write_vocabulary(tmp_path_factory.mktemp("vocabulary"))


@pytest.fixture(params=CLASSES)
def tokenizer(request, vocabulary):
    """Each of the two tokenizers."""
    return request.param(vocabulary)


@pytest.fixture
def weights(tmp_path):
    """A whole .weights.h5, and its configuration."""
    return whole_weights(tmp_path, tiny_config()), tiny_config()


@pytest.fixture
def archive(tmp_path):
    """A whole .keras file."""
    return whole_archive(tmp_path, tiny_config())
