"""A hub of this machine, for the real huggingface_hub client: models of a folder, over HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha1, sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote, urlsplit

import pytest

GATED, SILENT = "gated/model", "silent/model"


def commit_of(folder: Path) -> str:
    """A commit hash for a folder's content."""
    digest = sha1(usedforsecurity=False)
    for file in sorted(folder.iterdir()):
        digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest()


class Hub:
    """Serves ``models``; each is a folder, whose one branch is main.

    Attributes
    ----------
    cache : Path
        huggingface_hub's.
    asked : list of (method, path, Range header or "")
    sent : list of str
        Names of the files of which bytes were sent, in order.
    cut : dict of file name to bytes
        The transfer of this file ends after so many bytes, again and again.
    """

    def __init__(self, models: dict[str, Path], cache: Path) -> None:
        self.models = models
        self.cache = cache
        self.asked: list[tuple[str, str, str]] = []
        self.sent: list[str] = []
        self.cut: dict[str, int] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self._answer()

        def do_GET(self) -> None:
            self._answer()

        def _answer(self) -> None:
            path = unquote(urlsplit(self.path).path)
            hub.asked.append((self.command, path, self.headers.get("Range", "")))
            api, _, rest = path.lstrip("/").partition("/")
            if api == "cdn":
                org, name, file = rest.split("/")
                self._file(hub.models[f"{org}/{name}"], file)
                return
            if api == "api" and not rest.startswith("models/"):
                self._refuse(404, "")
                return
            if api == "api":
                org, name, *more = rest.removeprefix("models/").split("/")
                repo, revision = f"{org}/{name}", more[1] if more else "main"
            else:
                repo, _, rest = path.lstrip("/").partition("/resolve/")
                revision, _, rest = rest.partition("/")
            if repo == SILENT:
                self.close_connection = True
                return
            if repo == GATED:
                self._refuse(403, "GatedRepo")
            elif repo not in hub.models:
                self._refuse(401, "RepoNotFound")
            elif revision not in ("main", "v1", commit_of(hub.models[repo])):
                self._refuse(404, "RevisionNotFound")
            elif api == "api":
                self._about(repo)
            elif rest.endswith(".safetensors") and (hub.models[repo] / rest).is_file():
                self._elsewhere(repo, rest)
            else:
                self._file(hub.models[repo], rest)

        def _refuse(self, status: int, code: str) -> None:
            self.send_response(status)
            self.send_header("X-Error-Code", code)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def _about(self, repo: str) -> None:
            folder = hub.models[repo]
            siblings = [
                {"rfilename": file.name, "size": file.stat().st_size}
                for file in sorted(folder.iterdir())
            ]
            body = json.dumps({"id": repo, "sha": commit_of(folder), "siblings": siblings}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _elsewhere(self, repo: str, name: str) -> None:
            """Large files lie on other servers; the hub says what they are, and where."""
            path = hub.models[repo] / name
            self.send_response(302)
            self.send_header("Location", f"{hub.url}/cdn/{repo}/{name}?signed=1")
            self.send_header("X-Repo-Commit", commit_of(hub.models[repo]))
            self.send_header("X-Linked-ETag", f'"{sha256(path.read_bytes()).hexdigest()}"')
            self.send_header("X-Linked-Size", str(path.stat().st_size))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def _file(self, folder: Path, name: str) -> None:
            path = folder / name
            if not path.is_file():
                self._refuse(404, "EntryNotFound")
                return
            data = path.read_bytes()
            etag = sha256(data).hexdigest()
            if not name.endswith(".safetensors"):  # git's own name of a file
                etag = sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
            start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
            self.send_response(206 if start else 200)
            self.send_header("X-Repo-Commit", commit_of(folder))
            self.send_header("ETag", f'"{etag}"')
            self.send_header("Accept-Ranges", "bytes")
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
            self.send_header("Content-Length", str(len(data) - start))
            self.end_headers()
            if self.command == "GET":
                hub.sent.append(name)
                sent = data[start:]
                if name in hub.cut:
                    sent = sent[: hub.cut[name]]
                    self.close_connection = True
                with suppress(OSError):
                    self.wfile.write(sent)

    return Handler


@contextmanager
def hub_of(models: dict[str, Path], cache: Path) -> Iterator[Hub]:
    """A hub that huggingface_hub asks, with a cache of its own."""
    from huggingface_hub import constants

    hub = Hub(models, cache)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(constants, "ENDPOINT", hub.url)
        where = f"{hub.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", where)
        patch.setattr(constants, "HF_HUB_CACHE", str(cache))
        patch.setattr(constants, "HF_HUB_OFFLINE", False)
        patch.setenv("HF_ENDPOINT", hub.url)
        patch.setenv("HF_HOME", str(cache.parent))
        try:
            yield hub
        finally:
            hub.close()
