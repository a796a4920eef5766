"""A stand-in for the Hugging Face hub on 127.0.0.1, because the tests have no internet.

It answers what huggingface_hub asks when it downloads: HEAD and GET of a file at a revision with ETag, X-Repo-Commit
and Content-Length, the rest of a file that was cut short, the description and listing of a repository, and refusals
with X-Error-Code as the hub gives them (401 to strangers where a repository is missing or private, 403 for gated ones,
404 for revisions and files). It does not cover what the hub adds for large files and the web: redirects to other
hosts, Xet, pages of listings, https.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

MEMBER = "hf_member"  # the token that opens private and gated repositories


class Request(NamedTuple):
    method: str
    path: str
    token: str | None


@dataclass
class Published:
    """A repository: branches and their commits, the files of every commit, and who may read it."""

    access: str
    branches: dict[str, str] = field(default_factory=dict)
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)


class HubStandIn:
    """A running server.

    Attributes:
        endpoint: what HF_ENDPOINT is to be.
        requests: what was asked about repositories, in order.
        cut: files that are sent by half.
        dropped: files that are sent by half, after which the connection breaks.
        status: when set, what everything is answered with.
    """

    def __init__(self) -> None:
        self.repositories: dict[str, Published] = {}
        self.requests: list[Request] = []
        self.cut: set[str] = set()
        self.dropped: set[str] = set()
        self.status: int | None = None
        handler = type("Handler", (_Handler,), {"hub": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def close(self) -> None:
        """Ends the server; whoever asks then finds no one."""
        self._server.shutdown()
        self._server.server_close()

    def publish(
        self, name: str, files: Mapping[str, bytes] | Path, branch: str = "main", access: str = "public"
    ) -> str:
        """A commit of files, or of a folder, to a branch; `access` is "public", "private" or "gated"."""
        if isinstance(files, Path):
            files = {p.relative_to(files).as_posix(): p.read_bytes() for p in files.rglob("*") if p.is_file()}
        commit = hashlib.sha1(repr((name, sorted(files.items()))).encode()).hexdigest()
        repository = self.repositories.setdefault(name, Published(access))
        repository.branches[branch] = commit
        repository.commits[commit] = dict(files)
        return commit

    def fetched(self) -> list[str]:
        """The files whose contents were sent, in order."""
        return [r.path.split("/resolve/")[1].split("/", 1)[1] for r in self.requests if _is_content(r)]


def _is_content(request: Request) -> bool:
    return request.method == "GET" and "/resolve/" in request.path


class _Handler(BaseHTTPRequestHandler):
    hub: HubStandIn

    def log_message(self, *args: object) -> None:
        """Says nothing: pytest shows stderr."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path).strip("/")
        token = (self.headers.get("authorization") or "").removeprefix("Bearer ") or None
        if "/resolve/" in path or path.startswith("api/models/"):
            self.hub.requests.append(Request(self.command, path, token))
        if self.hub.status is not None:
            return self._refuse(self.hub.status, None, "the stand-in was told to")
        if token not in (None, MEMBER):
            return self._refuse(401, None, "Invalid credentials in Authorization header")
        listing = path.startswith("api/models/")
        described = listing and "/revision/" in path
        between = "/revision/" if described else "/tree/" if listing else "/resolve/"
        name, _, rest = path.removeprefix("api/models/").partition(between)
        repository = self.hub.repositories.get(name)
        if repository is None or (repository.access == "private" and token is None):
            return self._refuse(401 if token is None else 404, "RepoNotFound", "Repository not found")
        revision = next(
            (r for r in (*repository.branches, *repository.commits) if f"{rest}/".startswith(f"{r}/")), None
        )
        if revision is None:
            return self._refuse(404, "RevisionNotFound", "Invalid rev id")
        commit = repository.branches.get(revision, revision)
        files = repository.commits[commit]
        if described:
            siblings = [{"rfilename": file} for file in files]
            return self._answer(json.dumps({"id": name, "sha": commit, "siblings": siblings}).encode(), {})
        if listing:
            return self._answer(json.dumps([_entry(*item) for item in files.items()]).encode(), {})
        if repository.access == "gated" and token is None:
            return self._refuse(403, "GatedRepo", "Access is restricted")
        file = rest.removeprefix(f"{revision}/")
        if file not in files:
            return self._refuse(404, "EntryNotFound", "Entry not found", commit)
        content = files[file]
        headers = {"X-Repo-Commit": commit, "ETag": f'"{hashlib.sha1(content).hexdigest()}"'}
        if self.command == "GET" and file in self.hub.cut:
            return self._answer(content[: len(content) // 2], headers)
        start = int((self.headers.get("range") or "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        if self.command == "GET" and file in self.hub.dropped:
            headers["Content-Length"] = str(len(content) - start)
            content = content[: (start + len(content)) // 2]
        self._answer(content[start:], headers, 206 if start else 200)

    def _answer(self, content: bytes, headers: Mapping[str, str], status: int = 200) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def _refuse(self, status: int, code: str | None, message: str, commit: str | None = None) -> None:
        headers = {"X-Error-Message": message, "X-Error-Code": code, "X-Repo-Commit": commit}
        self._answer(b"", {name: value for name, value in headers.items() if value}, status)


def _entry(path: str, content: bytes) -> dict[str, object]:
    return {"type": "file", "path": path, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
