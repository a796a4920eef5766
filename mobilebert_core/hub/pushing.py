"""From what `save_pretrained` writes to a repository on the Hugging Face hub, through huggingface_hub."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from ..checkpoints.call_keywords import check_fields
from ..errors import BackendMissingError, SaveError, first_line
from .resolve import one_token

# The keywords of `push_saved` that `save_pretrained(..., push_to_hub=True)` takes too.
PUSH_KEYWORDS = (
    "repo_id", "commit_message", "commit_description", "private", "token", "use_auth_token", "revision", "create_pr",
    "tags",
)  # fmt: skip
# Of transformers' `save_pretrained`: who writes the files there, what PEFT stores, and where templates of chats go.
_WITHOUT_EFFECT = ("save_function", "save_original_format", "save_peft_format", "save_jinja_files")


def push_saved(saved: Any, repo_id: str, **kwargs: Any) -> Any:
    """Saves a model, configuration or tokenizer into a temporary directory and uploads that.

    Takes the keywords of `push_folder` and of `save_pretrained`. Returns what huggingface_hub does: the commit, and
    where it is.
    """
    kwargs.pop("use_temp_dir", None)  # of transformers 4: there is no other place here
    upload = {name: kwargs.pop(name) for name in PUSH_KEYWORDS if name in kwargs}
    with tempfile.TemporaryDirectory() as folder:
        saved.save_pretrained(folder, **kwargs)
        return push_folder(folder, repo_id, kind=type(saved).__name__, **upload)


def push_folder(
    folder: str | os.PathLike[str],
    repo_id: str,
    *,
    kind: str = "model",
    commit_message: str | None = None,
    commit_description: str | None = None,
    private: bool | None = None,
    token: str | bool | None = None,
    use_auth_token: str | bool | None = None,
    revision: str | None = None,
    create_pr: bool = False,
    tags: Iterable[str] = (),
) -> Any:
    """Uploads the files of a directory into a repository, `name` or `owner/name`, which is made if needed.

    Args:
        kind: what it is, for the default of `commit_message`.
        token: default HF_TOKEN or the one that was logged in with; `use_auth_token` is the same.
        revision: the branch, made if needed; default "main".
        create_pr: opens a pull request instead.
        tags: for the model card, where the repository has none and the directory brings none.

    Raises:
        BackendMissingError: without huggingface_hub.
        ConfigError: for two tokens.
        SaveError: when the hub cannot be reached, or refuses.
    """
    try:
        from huggingface_hub import HfApi, ModelCard, ModelCardData, constants
        from huggingface_hub.errors import HFValidationError

        from .repository import HTTP_ERRORS
    except ImportError as e:
        raise BackendMissingError(
            f"push_to_hub: uploading {repo_id} needs huggingface_hub ({e}). Install it: pip install 'mobilebert[hub]'."
        ) from e
    api = HfApi(token=one_token(repo_id, token, use_auth_token))
    card = Path(folder, "README.md")
    try:
        place = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
        if revision is not None and not revision.startswith("refs/pr"):
            api.create_branch(place, branch=revision, exist_ok=True)
        if tags and not card.exists() and not api.file_exists(place, card.name):
            data = ModelCardData(tags=list(tags), library_name="mobilebert")
            card.write_text(str(ModelCard(f"---\n{data.to_yaml()}\n---\n")), encoding="utf-8")
        return api.upload_folder(  # all files at once, or none
            repo_id=place,
            folder_path=Path(folder),
            commit_message=commit_message or f"Upload {kind}",
            commit_description=commit_description,
            revision=revision,
            create_pr=create_pr,
        )
    except (*HTTP_ERRORS, HFValidationError) as e:
        raise SaveError(
            f"push_to_hub: wanted the repository {repo_id} at {constants.ENDPOINT}, got {first_line(e)}; nothing was "
            "uploaded. Check the connection, the name and the token (token=... or HF_TOKEN); saving needs none."
        ) from e


def push_after_saving(
    call: str, folder: str | os.PathLike[str], push_to_hub: bool, keywords: dict[str, Any], kind: str
) -> Callable[[], Any]:
    """What `save_pretrained` does last with the keywords that are for the hub: nothing, unless `push_to_hub`.

    Default `repo_id` is the name of the directory.

    Raises:
        ConfigError: for a keyword that is none of these.
    """
    for name in _WITHOUT_EFFECT:
        keywords.pop(name, None)
    check_fields(call, keywords, PUSH_KEYWORDS)
    if not push_to_hub:
        return lambda: None
    repo_id = keywords.pop("repo_id", None) or Path(folder).absolute().name
    return partial(push_folder, folder, repo_id, kind=kind, **keywords)
