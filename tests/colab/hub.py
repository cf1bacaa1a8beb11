"""A Hub of one model on this machine, over HTTP: public, gated, or private to those who do not bring its token."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha1
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILES = {"config.json": b'{"model_type": "llama"}', "tokenizer.json": b"{}"}


class Hub(ThreadingHTTPServer):
    """Answers for `owner/model` alone.

    Attributes:
        refusal: (status, error code) for whoever does not bring `token`; None where all may read.
        seen: the tokens of all requests, "" for none.
    """

    refusal: tuple[int, str] | None = None
    token = ""

    def __init__(self) -> None:
        self.seen: list[str] = []
        super().__init__(("127.0.0.1", 0), _Answers)

    @property
    def address(self) -> str:
        """Its endpoint."""
        return f"http://127.0.0.1:{self.server_port}"


class _Answers(BaseHTTPRequestHandler):
    server: Hub

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        self.server.seen.append(token)
        if self.server.refusal and token != self.server.token:
            status, code = self.server.refusal
            self._send(status, {"X-Error-Code": code, "X-Error-Message": "Access is restricted."}, b"", body)
            return
        name = self.path.rpartition("/")[2].partition("?")[0]
        if self.path.startswith("/api/models/owner/model/tree/"):
            listed = [
                {
                    "type": "file",
                    "path": file,
                    "size": len(content),
                    "oid": sha1(content, usedforsecurity=False).hexdigest(),
                }
                for file, content in FILES.items()
            ]
            self._send(200, {"Content-Type": "application/json"}, json.dumps(listed).encode(), body)
        elif self.path.startswith("/api/models/owner/model"):
            told = {"id": "owner/model", "sha": COMMIT, "siblings": [{"rfilename": file} for file in FILES]}
            self._send(200, {"Content-Type": "application/json"}, json.dumps(told).encode(), body)
        elif name in FILES:
            etag = sha1(FILES[name], usedforsecurity=False).hexdigest()
            self._send(200, {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT}, FILES[name], body)
        else:
            self._send(404, {"X-Error-Code": "EntryNotFound"}, b"", body)

    def _send(self, status: int, headers: dict[str, str], content: bytes, body: bool) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


@contextmanager
def hub() -> Iterator[Hub]:
    """The Hub, while the block runs."""
    made = Hub()
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.shutdown()
        made.server_close()
        thread.join()
