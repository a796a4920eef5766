"""The page of examples/browser on a server of this machine, in headless Chromium that can reach nothing else."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from playwright.sync_api import Browser, sync_playwright

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "examples" / "browser"
HOST = "127.0.0.1"
CHROMIUM = ("chromium", "chromium-browser", "chromium-headless-shell", "google-chrome")
GPU = ("--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader")  # WebGPU computed by the processor


@contextmanager
def command_serving(command: list[str]) -> Iterator[str]:
    """The address of what `python -m http.server ...` serves, started with a free port."""
    with socket.socket() as free:
        free.bind((HOST, 0))
        port = free.getsockname()[1]
    command = [sys.executable, *command[1:], "--bind", HOST, str(port)]
    server = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(300):
            with socket.socket() as probe:
                if probe.connect_ex((HOST, port)) == 0:
                    break
            assert server.poll() is None, command
            time.sleep(0.1)
        yield f"http://{HOST}:{port}"
    finally:
        server.terminate()
        server.wait(30)


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


class _Isolated(_Quiet):
    """With the headers without which browsers give a page no threads."""

    def end_headers(self) -> None:
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        super().end_headers()


@contextmanager
def folder_serving(folder: Path, isolated: bool = False) -> Iterator[str]:
    """The address of a folder, on a thread of this process."""
    server = ThreadingHTTPServer((HOST, 0), partial(_Isolated if isolated else _Quiet, directory=str(folder)))
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://{HOST}:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


class Elsewhere:
    """Stands for all other hosts: whatever the browser asks them comes here as to a proxy, is counted and refused."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        asked = self.asked

        class Refuse(_Quiet):
            def do_GET(self) -> None:
                asked.append(self.path)
                self.send_error(502)

            do_POST = do_HEAD = do_CONNECT = do_OPTIONS = do_GET

        self.server = ThreadingHTTPServer((HOST, 0), Refuse)
        self.port = self.server.server_address[1]
        Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def chromium() -> str:
    """The path of a Chromium; a test that finds none is skipped."""
    found = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if found is None:
        pytest.skip(f"needs Chromium, found none of {', '.join(CHROMIUM)}: `apt-get install chromium-headless-shell`")
    return found


@contextmanager
def browsing(proxy: int) -> Iterator[Browser]:
    """Chromium, which reaches this machine and for everything else the proxy at that port."""
    path = chromium()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path,
            args=[
                "--no-sandbox",  # which root cannot have
                *GPU,
                f"--proxy-server=http://{HOST}:{proxy}",
                f"--proxy-bypass-list={HOST}",
            ],
        )
        try:
            yield browser
        finally:
            browser.close()
