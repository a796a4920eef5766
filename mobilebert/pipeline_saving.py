"""Writing a pipeline's model and tokenizer, which are seen as one."""

from __future__ import annotations

import os
from typing import Any

from mobilebert_core.files import directory_to_save_in
from mobilebert_core.hub.pushing import PUSH_KEYWORDS, push_after_saving
from mobilebert_core.saves import saving_together
from mobilebert_core.text.tokenization_base import TokenizerBase


def save(
    call: str, directory: str | os.PathLike[str], model: Any, tokenizer: TokenizerBase, options: dict[str, Any]
) -> None:
    """Writes both whole or not at all; whatever `options` say of the hub is done when they are there."""
    place = directory_to_save_in(directory)
    hub = {name: options.pop(name) for name in PUSH_KEYWORDS if name in options}
    last = push_after_saving(call, place, options.pop("push_to_hub", False), hub, type(model).__name__)
    with saving_together(place) as stage:
        model.save_pretrained(stage, **options)
        tokenizer.save_pretrained(stage)
    last()
