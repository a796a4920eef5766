"""One repository on the Hugging Face hub: its files brought here one by one, and what went wrong in plain words.

Of huggingface_hub it uses what is the same from 0.23 to 2: `hf_hub_download`, `get_hf_file_metadata`,
`try_to_load_from_cache`, the listing, the error classes in `huggingface_hub.utils`, and the layout of the cache, which
is documented.

`snapshot_download(allow_patterns=...)` does not serve here. Its patterns cannot say "the first of these formats", it
fetches all that match. And from the cache it returns the folder of a commit without a look at what is missing in it.
"""

from __future__ import annotations

import errno
import logging
import os
from pathlib import Path, PurePosixPath
from typing import Any

from huggingface_hub import (
    _CACHED_NO_EXIST,
    HfApi,
    constants,
    get_hf_file_metadata,
    hf_hub_download,
    hf_hub_url,
    try_to_load_from_cache,
)
from huggingface_hub.utils import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    LocalTokenNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from ..errors import CheckpointNotFoundError
from ..processes import warn

logger = logging.getLogger("mobilebert")

# The errors of the system and of the HTTP library, which is requests, httpx or httpx2 as the release of huggingface_hub
# may be. The hub's own HTTP error derives from that library's each time.
HTTP_ERRORS: tuple[Any, ...] = (OSError, *HfHubHTTPError.__bases__)
# What a download raises besides: RuntimeError from hf_xet, and ValueError for arguments.
_FAILURES: tuple[Any, ...] = (*HTTP_ERRORS, RuntimeError, ValueError)
# Errors of a connection that was never made, as the HTTP libraries call them.
_NO_CONNECTION = ("ConnectError", "ConnectTimeout", "ConnectionError")
_PASS_TOKEN = "pass token=... or set HF_TOKEN"
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
_SHOWN = 20  # names in a message


class Repository:
    """A repository at one commit: that of the first file found, so that all files belong together.

    Attributes:
        folder: where the files are on this machine, once `find` has found one.
    """

    folder: Path

    def __init__(
        self,
        name: str,
        *,
        subfolder: str | None,
        revision: str | None,
        cache_dir: str | os.PathLike[str] | None,
        force_download: bool,
        local_files_only: bool,
        token: str | bool | None,
    ) -> None:
        self.name = name
        self.subfolder = subfolder
        self.revision = revision
        self.cache = Path(cache_dir or constants.HF_HUB_CACHE).expanduser()
        self.force_download = force_download
        self.local_files_only = local_files_only
        self.token = token
        self._commit: str | None = None
        self._failure: Exception | None = None  # what kept the hub from being asked
        self._tried = False

    def __str__(self) -> str:
        place = {"revision": self.revision, "subfolder": self.subfolder}
        said = ", ".join(f"{key} {value}" for key, value in place.items() if value)
        return f"{self.name} ({said})" if said else self.name

    @property
    def unreachable(self) -> bool:
        """True when the hub could not or must not be asked, and the cache alone answered."""
        return self._failure is not None

    def find(self, file: str) -> bool:
        """Whether there is such a file, which is then in `folder`.

        Raises:
            CheckpointNotFoundError: when the repository or revision is not there or not accessible, or the file
                cannot be fetched or written.
        """
        path = f"{self.subfolder}/{file}" if self.subfolder else file
        place: dict[str, Any] = {"cache_dir": self.cache, "revision": self._commit or self.revision}
        known = try_to_load_from_cache(self.name, path, **place) if self._commit else None
        if known is _CACHED_NO_EXIST and not self.force_download:
            return False
        self._try_once(path)
        try:
            found = hf_hub_download(
                self.name,
                path,
                force_download=self.force_download and not self.unreachable,
                local_files_only=self.local_files_only or self.unreachable,
                token=self.token,
                **place,
            )
        except LocalEntryNotFoundError as e:  # an EntryNotFoundError, but about the cache
            if not self.unreachable and not self._offline():
                warn(logger, "%s: %s; what the cache holds is used.", self, self._reason(e))
            self._failure = self._failure or e
            return False
        except EntryNotFoundError:
            return False
        except _FAILURES as e:
            raise self._explained(e, path) from None
        if self._commit is None:
            self.folder = Path(found).parent
            self._commit = Path(found).parts[-1 - len(PurePosixPath(path).parts)]
        return True

    def _try_once(self, path: str) -> None:
        """Asks the hub for the first file that the cache has not, once.

        Where there is no connection, `hf_hub_download` tries six times, for half a minute where the hub is refused and
        for six where nothing answers; it has no setting for that.
        """
        if self._tried or self._commit or self._offline():
            return
        self._tried = True
        cached = try_to_load_from_cache(self.name, path, cache_dir=self.cache, revision=self.revision)
        if isinstance(cached, str) and not self.force_download:
            return  # then it tries once
        try:
            get_hf_file_metadata(hf_hub_url(self.name, path, revision=self.revision), token=self.token)
        except _FAILURES as e:
            if type(e).__name__ in _NO_CONNECTION:
                warn(logger, "%s: %s; what the cache holds is used.", self, self._reason(e))
                self._failure = e

    def names(self) -> list[str]:
        """The files of the repository, or of the cache where the hub could not be asked, below the subfolder."""
        if self.unreachable:
            return sorted(path.name for path in self.folder.iterdir()) if self._commit else []
        try:
            files = HfApi().list_repo_files(self.name, revision=self._commit or self.revision, token=self.token)
        except _FAILURES as e:
            raise self._explained(e, "the list of its files") from None
        prefix = f"{self.subfolder}/" if self.subfolder else ""
        return sorted(file.removeprefix(prefix) for file in files if file.startswith(prefix))

    def lacking(self, wanted: str) -> CheckpointNotFoundError:
        """The error that says what the repository has instead of `wanted`, or why it could not be asked."""
        if self._failure is not None:
            return self._not_asked(self._failure, wanted)
        names = self.names()
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        held = ", ".join(names[:_SHOWN]) or "nothing"
        return CheckpointNotFoundError(f"{self}: wanted {wanted}, the repository has {held}{more}.")

    def _explained(self, error: Exception, file: str) -> CheckpointNotFoundError:
        """An error of huggingface_hub, or of what it is built on, in the words of this package."""
        hub = constants.ENDPOINT
        if isinstance(error, GatedRepoError):
            what = f"gated at {hub}/{self.name}: its authors decide who gets it"
            todo = f"Ask for access on that page, then {_PASS_TOKEN}."
        elif isinstance(error, RepositoryNotFoundError):
            what = f"no directory here, and {hub} has no such repository, or gives it to its members only"
            todo = f"Check the spelling; for a private repository {_PASS_TOKEN}."
        elif isinstance(error, RevisionNotFoundError):
            what = f"the repository is at {hub}, but it has no revision {self.revision or 'main'!r}"
            todo = f"See {hub}/{self.name}/branches for branches, tags and commits."
        elif isinstance(error, LocalTokenNotFoundError):
            what, todo = "token=True, but no token is stored here", "Log in, set HF_TOKEN or pass token='hf_...'."
        elif isinstance(error, HfHubHTTPError):
            what = f"{file}: {self._reason(error)}"
            todo = "Check the token, and whether the hub is up."
        elif isinstance(error, ValueError) and isinstance(error.__cause__, Exception):  # force_download, but no hub
            return self._not_asked(error.__cause__, file)
        elif isinstance(error, ValueError):
            what, todo = _first_line(error), "Check the arguments."
        elif isinstance(error, OSError) and error.errno in _NO_SPACE:
            what = f"{file}: no space left in the cache {self.cache}; nothing was loaded"
            todo = "Free some, or pass cache_dir=... on another disk."
        elif isinstance(error, OSError) and error.strerror and not isinstance(error, ConnectionError):
            what = f"{file}: cannot be written to the cache {self.cache} ({error.strerror}: {error.filename})"
            todo = "Mend that, or pass cache_dir=..."
        else:
            what = f"{file}: did not arrive whole ({_first_line(error)}); nothing was loaded"
            todo = "Try again."
        return CheckpointNotFoundError(f"{self}: {what}. {todo}")

    def _not_asked(self, error: Exception, wanted: str) -> CheckpointNotFoundError:
        todo = "Fetch it once without that" if self._offline() else "Check the connection and HF_ENDPOINT"
        unused = ", which force_download=True leaves out" if self.force_download else ""
        return CheckpointNotFoundError(
            f"{self}: no such directory here; wanted {wanted} from the Hugging Face hub, but {self._reason(error)}. "
            f"The cache {self.cache} holds {self._held()}{unused}. {todo}, or pass the path of a copy."
        )

    def _offline(self) -> bool:
        return self.local_files_only or constants.HF_HUB_OFFLINE

    def _reason(self, error: Exception) -> str:
        """Why the hub did not give an answer."""
        if self._offline():
            return f"{'local_files_only=True' if self.local_files_only else 'HF_HUB_OFFLINE'} forbids asking it"
        cause = error.__cause__ if isinstance(error, LocalEntryNotFoundError) and error.__cause__ else error
        response = getattr(cause, "response", None)  # which errors of the HTTP library have when there was one
        if response is not None:
            said = response.headers.get("X-Error-Message") or _first_line(cause)
            return f"{constants.ENDPOINT} answered {response.status_code} ({said})"
        return f"{constants.ENDPOINT} cannot be reached ({_first_line(cause)})"

    def _held(self) -> str:
        """What the cache has of this repository, commit by commit."""
        snapshots = self.cache / f"models--{self.name.replace('/', '--')}" / "snapshots"
        commits = sorted(snapshots.iterdir()) if snapshots.is_dir() else []
        held = []
        for commit in commits:
            files = sorted(p.relative_to(commit).as_posix() for p in commit.rglob("*") if p.is_file())
            held.append(f"{', '.join(files[:_SHOWN])} of commit {commit.name}")
        return "; ".join(held) or "nothing of it"


def _first_line(error: BaseException) -> str:
    """What an error says, without the pages that may follow."""
    line = next(iter(str(error).strip().splitlines()), "")
    return f"{type(error).__name__}: {line[:200]}" if line else type(error).__name__
