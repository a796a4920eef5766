"""From what a user passes to `from_pretrained` to files on this machine: a path is itself, a name is fetched.

Names are looked up on the Hugging Face hub through huggingface_hub, an optional package (`mobilebert[hub]`) that
nothing imports until a name has to be looked up.
"""

from __future__ import annotations

import os
import re
from collections.abc import MutableMapping
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from ..configuration.presets import PRESETS
from ..errors import BackendMissingError, CheckpointNotFoundError, ConfigError
from ..files import CONFIG_FILE, TOKENIZER_FILES, VOCABULARY_FILES, is_there, nearest
from ..shipped_models import SHIPPED_MODELS, shipped
from .selection import find_google_jsons, find_weights

if TYPE_CHECKING:
    from .repository import Repository

# Keywords of `resolve` that every `from_pretrained` takes, with the names and meanings of transformers.
HUB_KEYWORDS = (
    "subfolder", "revision", "cache_dir", "force_download", "local_files_only", "token", "use_auth_token", "proxies",
)  # fmt: skip

# The hub's rules for a name: at most 96 of these characters, with letters, digits or _ at both ends, twice at most.
_REPOSITORY = re.compile(r"(?:\b[\w.-]{1,96}\b/)?\b[\w.-]{1,96}\b", re.ASCII)
# A relative path of two parts looks like owner/name; these ends say that it means a file of a checkpoint.
_FILE = re.compile(r".*\.(bin|ckpt(-\d+)?|h5|index|json|keras|pt|pth|safetensors|txt)", re.DOTALL)


def resolve(
    name_or_path: str | os.PathLike[str],
    *,
    config: bool = False,
    weights: bool = False,
    tokenizer: bool = False,
    variant: str | None = None,
    subfolder: str | None = None,
    revision: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    force_download: bool = False,
    local_files_only: bool = False,
    token: str | bool | None = None,
    use_auth_token: str | bool | None = None,
    proxies: Any = None,
) -> Path:
    """The local file or folder that a path or a name means; what is needed of a repository is fetched.

    What exists here is itself, and so is the prefix of a TensorFlow checkpoint. So is, whether it exists or not,
    whatever has the form of a path: a `pathlib.Path`, and a string that starts with `.`, `/` or `~`, contains a
    backslash or more than one slash, or ends in a slash or like a file of a checkpoint. It is never looked up. A name
    of `SHIPPED_MODELS`, such as "mobilebert-mini", is that model of the package; a local directory of the name wins.
    Any other string is the name of a repository on the Hugging Face hub, `owner/name`, and comes back as the folder of
    its snapshot in huggingface_hub's cache. Unless a keyword of the hub is passed, such as `revision`, a name without
    an owner, or whose owner is a name here, is a path that was mistyped: the hub is not asked. Environment
    variables (HF_HOME, HF_ENDPOINT, HF_HUB_OFFLINE, HF_TOKEN and the others) work as for huggingface_hub, which also
    shows the progress on stderr. When the hub cannot be reached, what the cache holds is used.

    Args:
        config: config.json is needed; with a checkpoint of TensorFlow 1 another JSON may stand for it.
        weights: the first of `files.WEIGHT_FILES` that the repository has, with its shards if it is an index, or else
            the checkpoint of TensorFlow 1. No other is fetched.
        tokenizer: those of `files.TOKENIZER_FILES` that the repository has. It must have one, unless something else
            is needed as well.
        variant: of the weights, as in `open_checkpoint`.
        subfolder: of the directory or repository in which the files are.
        revision: a branch, tag or commit; default "main".
        cache_dir: in place of $HF_HOME/hub.
        force_download: fetches files that the cache has already.
        local_files_only: asks no one but the cache.
        token: for private and gated repositories; default HF_TOKEN or the one that was logged in with, which True
            demands and False leaves out. `use_auth_token` is the same.
        proxies: not taken, since huggingface_hub 1 has no such option: HTTPS_PROXY is.

    Raises:
        CheckpointNotFoundError: when it is no path here and no name of the hub, or the hub does not have it, does not
            give it out or cannot be asked, or its files did not arrive whole.
        CheckpointError: when a repository names files outside of itself, or has several checkpoints of TensorFlow 1.
        BackendMissingError: when a name has to be looked up without huggingface_hub.
    """
    _check_kind(name_or_path, subfolder)
    here = is_there(name_or_path)
    place = name_or_path if here else shipped(name_or_path)
    if here or has_path_form(place) or not (config or weights or tokenizer):
        return Path(place, subfolder or "")
    name = str(name_or_path)
    asked = (
        force_download
        or local_files_only
        or any(each is not None for each in (revision, cache_dir, token, use_auth_token))
    )
    _check_name(name, asked)
    if proxies:
        raise ConfigError(f"{name}: proxies is not taken; set the environment variables HTTPS_PROXY and HTTP_PROXY.")
    token = one_token(name, token, use_auth_token)
    repository = _repository_class(name)(
        name,
        subfolder="/".join(PurePath(subfolder or "").parts).strip("/") or None,
        revision=revision,
        cache_dir=cache_dir,
        force_download=force_download,
        local_files_only=local_files_only,
        token=token,
    )
    if config and not repository.find(CONFIG_FILE) and not (weights and find_google_jsons(repository)):
        raise repository.lacking(CONFIG_FILE)
    if weights:
        find_weights(repository, variant)
    if tokenizer:
        found = [file for file in TOKENIZER_FILES if repository.find(file)]
        if not found and (repository.unreachable or not (config or weights)):
            raise repository.lacking(" or ".join(VOCABULARY_FILES))
    return repository.folder


def _check_name(name: str, asked: bool) -> None:
    """Raises CheckpointNotFoundError for no name of the hub, and for a mistyped path unless the hub is `asked` for."""
    if not is_repository_name(name):
        raise CheckpointNotFoundError(
            f"{name!r}: no file or directory here, and no name of a repository on the Hugging Face hub, which is "
            f"`owner/name` of letters, digits, '-', '_' and '.'. {nearest(name, SHIPPED_MODELS)}"
        )
    owner, slash, _ = name.partition("/")
    if asked or (slash and not os.path.lexists(owner)):
        return
    if name in PRESETS:
        raise CheckpointNotFoundError(
            f"{name!r}: no file or directory here. It is the name of an architecture, which has a configuration "
            f"(MobileBertConfig.from_preset) and no weights; `mobilebert train --model {name}` trains it."
        )
    elsewhere = "call from another directory" if slash else "write owner/name"
    raise CheckpointNotFoundError(
        f"{name!r}: no file or directory here, and not looked up on the Hugging Face hub, where a name is `owner/name` "
        f"and its owner is no name here. {nearest(name, [*SHIPPED_MODELS, *PRESETS])} For the hub's {elsewhere}, or "
        "pass revision='main'."
    )


def has_path_form(name_or_path: str | os.PathLike[str]) -> bool:
    """True for what is never looked up on the hub (see `resolve`)."""
    if not isinstance(name_or_path, str):
        return True
    name = name_or_path
    return (
        name.startswith((".", "/", "~"))
        or name.endswith("/")
        or "\\" in name
        or name.count("/") > 1
        or _FILE.fullmatch(name) is not None
    )


def is_repository_name(name: str) -> bool:
    """True for what the hub allows as the name of a repository."""
    forbidden = "--" in name or ".." in name or name.endswith(".git")
    return _REPOSITORY.fullmatch(name) is not None and not forbidden


def _check_kind(place: Any, subfolder: Any) -> None:
    if not isinstance(place, str | os.PathLike):
        raise CheckpointNotFoundError(
            f"wanted a path or a name on the Hugging Face hub, got {type(place).__name__} {place!r:.80}."
        )
    if not isinstance(subfolder, str | os.PathLike | None):
        raise ConfigError(f"{place}: subfolder must be the path of a directory, got {subfolder!r}.")


def take_hub_keywords(kwargs: MutableMapping[str, Any]) -> dict[str, Any]:
    """Takes the keywords of `resolve` out of those of a `from_pretrained`."""
    kwargs.pop("resume_download", None)  # huggingface_hub resumes what it can, whatever this says
    return {name: kwargs.pop(name) for name in HUB_KEYWORDS if name in kwargs}


def one_token(name: str, token: str | bool | None, use_auth_token: str | bool | None) -> str | bool | None:
    """The token that was passed, under one of its two names; raises ConfigError for both."""
    if token is not None and use_auth_token is not None:
        raise ConfigError(f"{name}: token and use_auth_token are the same; give one of the two.")
    return use_auth_token if token is None else token


def _repository_class(name: str) -> type[Repository]:
    try:
        from .repository import Repository
    except ImportError as e:
        raise BackendMissingError(
            f"{name}: no such file or directory here, and looking the name up on the Hugging Face hub needs "
            f"huggingface_hub ({e}). Check the path, or install it: pip install 'mobilebert[hub]'."
        ) from e
    return Repository
