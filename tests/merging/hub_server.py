"""A stand-in for the Hub: one model's files over HTTP, with ranges, and a line that can be cut."""

from __future__ import annotations

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

COMMIT = "c" * 40


class Hub:
    """Serves a folder as the model `someone/model` on a port of this machine.

    Args:
        folder: the model.

    Attributes:
        fetched: names of the files whose bytes were asked for whole, in order.
        breaks_at: the file that is cut off half-way, and all after it; None for none.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.fetched, self.breaks_at = folder, list[str](), ""
        self.broken = False
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None:
                pass

            def do_HEAD(self) -> None:
                hub.answer(self, body=False)

            def do_GET(self) -> None:
                hub.answer(self, body=True)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def answer(self, request: Any, body: bool) -> None:
        if self.broken:
            request.close_connection = True
            return None
        path = request.path.partition("?")[0]
        if path.startswith("/api/models/someone/model"):
            told: Any = self._tree() if "/tree/" in path else self._info()
            return self._send(request, json.dumps(told).encode(), {"Content-Type": "application/json"}, body)
        file = self.folder / path.rpartition("/")[2]
        if not path.startswith("/someone/model/resolve/") or not file.is_file():
            request.send_response(404)
            request.send_header("X-Error-Code", "EntryNotFound")
            request.send_header("Content-Length", "0")
            request.end_headers()
            return None
        data = file.read_bytes()
        headers = {"ETag": f'"{hashlib.sha256(data).hexdigest()}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        if body and "Range" not in request.headers:
            self.fetched.append(file.name)
        return self._send(request, data, headers, body, file.name)

    def _tree(self) -> list[dict[str, Any]]:
        return [
            {"type": "file", "path": path.name, "size": path.stat().st_size, "oid": "0"}
            for path in sorted(self.folder.iterdir())
        ]

    def _info(self) -> dict[str, Any]:
        files = [
            {"rfilename": path.name, "size": path.stat().st_size, "blobId": "0"}
            for path in sorted(self.folder.iterdir())
        ]
        return {"id": "someone/model", "modelId": "someone/model", "sha": COMMIT, "siblings": files, "tags": []}

    def _send(self, request: Any, data: bytes, headers: dict[str, str], body: bool, name: str = "") -> None:
        asked = request.headers.get("Range", "")
        total = len(data)
        if asked:
            first, _, last = asked.removeprefix("bytes=").partition("-")
            start, end = int(first), min(int(last or total - 1), total - 1)
            data = data[start : end + 1]
            request.send_response(206)
            request.send_header("Content-Range", f"bytes {start}-{end}/{total}")
        else:
            request.send_response(200)
        for key, value in headers.items():
            request.send_header(key, value)
        request.send_header("Content-Length", str(len(data)))
        request.end_headers()
        if body and name and name == self.breaks_at and not asked:
            request.wfile.write(data[: len(data) // 2])
            self.broken, request.close_connection = True, True
            return
        if body:
            request.wfile.write(data)
