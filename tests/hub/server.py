"""A stand-in for the Hub: the part of its HTTP interface that huggingface_hub uses to create, commit and download.

Text files are committed as they are. Others go through Git LFS, as on the Hub: the client asks where to, uploads, and
commits the checksum.
"""

import base64
import hashlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

TOKEN = "hf_a_secret_of_this_test"
LFS = (".npz", ".safetensors", ".pkl", ".mp4")


@dataclass
class Repository:
    private: bool
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)

    @property
    def newest(self) -> str:
        return list(self.commits)[-1]


class Hub:
    """The server, in a thread.

    Attributes:
        tokens: what came in Authorization headers.
        refuses: the status with which commits are refused.
    """

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.objects: dict[str, bytes] = {}
        self.requests: list[tuple[str, str]] = []
        self.tokens: set[str | None] = set()
        self.refuses: int | None = None
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def commit(self, name: str, files: dict[str, bytes | None]) -> str:
        """Add a commit with these files changed; None deletes one."""
        repository = self.repositories[name]
        before = repository.commits[repository.newest] if repository.commits else {}
        after = {path: data for path, data in (before | files).items() if data is not None}
        revision = hashlib.sha1(repr(sorted(after.items())).encode()).hexdigest()
        repository.commits[revision] = after
        return revision


def _handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None: ...

        def do_HEAD(self) -> None:
            self._get()

        def do_GET(self) -> None:
            self._get()

        def do_POST(self) -> None:
            path, data = self._request()
            if path == "/api/repos/create":
                self._create(json.loads(data))
            elif path.startswith("/api/models/") and "/preupload/" in path:
                files = json.loads(data)["files"]
                modes = {one["path"]: "lfs" if one["path"].endswith(LFS) else "regular" for one in files}
                self._json({"files": [{"path": p, "uploadMode": m, "shouldIgnore": False} for p, m in modes.items()]})
            elif path.startswith("/api/models/") and "/commit/" in path:
                self._commit(path.removeprefix("/api/models/").partition("/commit/")[0], data)
            elif path.endswith(".git/info/lfs/objects/batch"):
                objects = [
                    {**one, "actions": {"upload": {"href": f"{hub.address}/upload/{one['oid']}"}}}
                    for one in json.loads(data)["objects"]
                ]
                self._json({"transfer": "basic", "objects": objects}, kind="application/vnd.git-lfs+json")
            elif path == "/api/validate-yaml":
                self._json({"errors": [], "warnings": []})
            else:
                self._json({"error": f"nothing at {path}"}, 404)

        def do_PUT(self) -> None:
            path, data = self._request()
            digest = path.removeprefix("/upload/")
            assert hashlib.sha256(data).hexdigest() == digest
            hub.objects[digest] = data
            self._json({})

        def _create(self, asked: dict[str, Any]) -> None:
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                self._json({"error": "Invalid username or password."}, 401)
                return
            name = f"{asked.get('organization') or 'me'}/{asked['name']}"
            if name in hub.repositories:
                self._json({"error": "You already created this model repo", "url": f"{hub.address}/{name}"}, 409)
                return
            hub.repositories[name] = Repository(asked.get("visibility") == "private" or asked.get("private") is True)
            self._json({"url": f"{hub.address}/{name}", "name": name, "id": "0"})

        def _commit(self, name: str, data: bytes) -> None:
            if hub.refuses is not None:
                self._json({"error": f"no, {self.headers.get('Authorization')}"}, hub.refuses)
                return
            files: dict[str, bytes | None] = {}
            for entry in map(json.loads, data.splitlines()):
                value = entry["value"]
                if entry["key"] == "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                elif entry["key"] == "lfsFile":
                    files[value["path"]] = hub.objects[value["oid"]]
            revision = hub.commit(name, files)
            self._json({"commitUrl": f"{hub.address}/{name}/commit/{revision}", "commitOid": revision})

        def _get(self) -> None:
            path, _ = self._request()
            if path.startswith("/api/models/"):
                name, _, revision = path.removeprefix("/api/models/").partition("/revision/")
                self._info(name, revision)
                return
            name, _, rest = path.removeprefix("/").partition("/resolve/")
            revision, _, file = rest.partition("/")
            found = self._files(name, revision)
            if found is None:
                return
            commit, files = found
            if file not in files:
                self._json({"error": "Entry not found"}, 404, code="EntryNotFound")
                return
            digest = hashlib.sha256(files[file]).hexdigest()
            self._send(files[file], 200, {"X-Repo-Commit": commit, "ETag": f'"{digest}"'})

        def _info(self, name: str, revision: str) -> None:
            found = self._files(name, revision)
            if found is not None:
                commit, files = found
                siblings = [{"rfilename": path, "size": len(data)} for path, data in files.items()]
                self._json({"_id": "0", "id": name, "modelId": name, "sha": commit, "siblings": siblings})

        def _files(self, name: str, revision: str) -> tuple[str, dict[str, bytes]] | None:
            repository = hub.repositories.get(name)
            if repository is None or (repository.private and self.headers.get("Authorization") != f"Bearer {TOKEN}"):
                self._json({"error": "Repository not found"}, 401 if repository is None else 404, code="RepoNotFound")
                return None
            commit = repository.newest if revision in ("", "main") else revision
            if commit not in repository.commits:
                self._json({"error": "Revision not found"}, 404, code="RevisionNotFound")
                return None
            return commit, repository.commits[commit]

        def _request(self) -> tuple[str, bytes]:
            path = unquote(urlsplit(self.path).path)
            hub.requests.append((self.command, path))
            hub.tokens.add(self.headers.get("Authorization"))
            if self.headers.get("Transfer-Encoding") == "chunked":
                data = b""
                while size := int(self.rfile.readline(), 16):
                    data += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
                return path, data
            return path, self.rfile.read(int(self.headers.get("Content-Length") or 0))

        def _json(self, content: Any, status: int = 200, kind: str = "application/json", code: str = "") -> None:
            headers = {"Content-Type": kind} | ({"X-Error-Code": code} if code else {})
            self._send(json.dumps(content).encode(), status, headers)

        def _send(self, data: bytes, status: int, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

    return Handler
