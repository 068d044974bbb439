"""A model hub on loopback with one model, as huggingface_hub downloads it: the list of its files
and their commit, then each file with its ETag."""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import orjson

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def _entry(file: Path) -> dict[str, Any]:
    oid = hashlib.sha1(file.read_bytes(), usedforsecurity=False).hexdigest()
    return {"type": "file", "oid": oid, "size": file.stat().st_size, "path": file.name}


@contextmanager
def running(name: str, folder: Path) -> Iterator[str]:
    """Serve the files in `folder` as the model `name`; yields the address of the hub."""

    class Hub(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def do_GET(self) -> None:
            self._answer(with_body=True)

        def _answer(self, *, with_body: bool) -> None:
            path = self.path.partition("?")[0]
            prefix = f"/{name}/resolve/{COMMIT}/"
            if path == f"/api/models/{name}/revision/main" or path == f"/api/models/{name}":
                files = [{"rfilename": file.name} for file in sorted(folder.iterdir())]
                about = {"id": name, "sha": COMMIT, "siblings": files, "tags": []}
                return self._send(200, orjson.dumps(about), {}, with_body)
            if path == f"/api/models/{name}/tree/{COMMIT}":
                listed = [_entry(file) for file in sorted(folder.iterdir())]
                return self._send(200, orjson.dumps(listed), {}, with_body)
            file = folder / path.removeprefix(prefix)
            if path.startswith(prefix) and file.is_file():
                content = file.read_bytes()
                etag = {"ETag": f'"{hashlib.sha256(content).hexdigest()}"'}
                return self._send(200, content, etag, with_body)
            missing = {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"}
            return self._send(404, b"{}", missing, with_body)

        def _send(
            self, code: int, content: bytes, headers: dict[str, str], with_body: bool
        ) -> None:
            self.send_response(code)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("X-Repo-Commit", COMMIT)
            for key, value in headers.items():
                self.send_header(key, value)
            self.end_headers()
            if with_body:
                self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
