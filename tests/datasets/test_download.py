"""The real download code against a stand-in server with the Hugging Face interface on this machine."""

import hashlib
import json
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlparse

import pytest

from pcsargmax.datasets.download import REPOSITORY, download_keypointnet
from pcsargmax.datasets.keypointnet import KeypointNet
from pcsargmax.datasets.procedural import make_procedural

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(ThreadingHTTPServer):
    """Serve a folder as one data set. `cut` names a file that breaks off in the middle."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder, self.cut, self.fetched = folder, "", []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request, client_address):
        pass


class _Handler(BaseHTTPRequestHandler):
    server: Hub

    def log_message(self, *args):
        pass

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        path = urlparse(self.path).path
        api, files = f"/api/datasets/{REPOSITORY}/", f"/datasets/{REPOSITORY}/resolve/{COMMIT}/"
        if path in (f"{api}revision/main", f"{api}revision/{COMMIT}"):
            self._send(json.dumps({"id": REPOSITORY, "sha": COMMIT, "tags": [], "siblings": []}).encode())
        elif path.startswith(f"{api}tree/{COMMIT}"):
            everything = sorted(p for p in self.server.folder.rglob("*") if p.is_file())
            entries = [
                {
                    "type": "file",
                    "path": p.relative_to(self.server.folder).as_posix(),
                    "size": p.stat().st_size,
                    "oid": hashlib.sha1(p.read_bytes()).hexdigest(),
                }
                for p in everything
            ]
            self._send(json.dumps(entries).encode())
        elif path.startswith(files) and (self.server.folder / path.removeprefix(files)).is_file():
            self._send((self.server.folder / path.removeprefix(files)).read_bytes(), path.removeprefix(files))
        else:
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()

    def _send(self, content: bytes, name: str = "") -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Content-Type", "application/json" if not name else "application/octet-stream")
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{hashlib.sha1(content).hexdigest()}"')
        self.end_headers()
        if self.command == "HEAD":
            return
        if name:
            self.server.fetched.append(name)
        if name and name == self.server.cut:
            self.wfile.write(content[: len(content) // 2])
            self.close_connection = True
            return
        self.wfile.write(content)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    root = tmp_path_factory.mktemp("hub")
    make_procedural(root, ("mug", "chair"), models=4, num_points=64)
    return root


@pytest.fixture
def hub(source, monkeypatch):
    for name in ("HF_HUB_OFFLINE", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    server = Hub(source)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def files(root: Path) -> set[str]:
    found = (p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file())
    return {name for name in found if not name.startswith(".cache/")}


def test_fetches_the_category_and_nothing_else(hub, source, tmp_path):
    found = download_keypointnet(tmp_path, "mug", endpoint=hub.url)
    assert (found.category, found.class_id, found.models, found.missing) == ("mug", "03797390", 4, ())
    wanted = {"annotations/mug.json", "splits/train.txt", "splits/val.txt", "splits/test.txt"}
    assert files(tmp_path) == wanted | {f"pcds/03797390/mug{i:05d}.pcd" for i in range(4)}
    for name in files(tmp_path):
        assert (tmp_path / name).read_bytes() == (source / name).read_bytes()
    assert len(KeypointNet(tmp_path, "mug", "all")) == 4


def test_what_is_there_is_not_fetched_again(hub, tmp_path):
    download_keypointnet(tmp_path, "03797390", endpoint=hub.url)
    hub.fetched.clear()
    download_keypointnet(tmp_path, "mug", endpoint=hub.url)
    assert hub.fetched == []
    found = download_keypointnet(tmp_path, "mug", endpoint=hub.url, meshes=True)
    assert found.missing == ()
    assert sorted(hub.fetched) == [f"ShapeNetCore.v2.ply/03797390/mug{i:05d}.ply" for i in range(4)]


def test_a_broken_download_leaves_no_half_file_and_goes_on(hub, tmp_path, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # huggingface_hub waits between its own attempts
    hub.cut = "pcds/03797390/mug00002.pcd"
    with pytest.raises(ConnectionError, match="could not fetch mug"):
        download_keypointnet(tmp_path, "mug", endpoint=hub.url)
    assert hub.cut not in files(tmp_path)
    hub.cut = ""
    assert download_keypointnet(tmp_path, "mug", endpoint=hub.url).missing == ()


def test_a_model_that_the_data_set_lacks_is_told(hub, tmp_path, source):
    path = source / "pcds" / "03001627" / "chair00001.pcd"
    path.rename(path.with_suffix(".gone"))
    try:
        assert download_keypointnet(tmp_path, "chair", endpoint=hub.url).missing == ("chair00001",)
    finally:
        path.with_suffix(".gone").rename(path)


def test_a_category_that_the_data_set_lacks(hub, tmp_path):
    with pytest.raises(FileNotFoundError, match="does not hold table as expected: annotations/table"):
        download_keypointnet(tmp_path, "table", endpoint=hub.url)


def test_no_server(tmp_path):
    with pytest.raises(ConnectionError, match=r"could not fetch mug of qq456cvb/KeypointNet: .*Try again"):
        download_keypointnet(tmp_path, "mug", endpoint="http://127.0.0.1:9")
    assert files(tmp_path) == set()


def test_unknown_category(tmp_path):
    with pytest.raises(ValueError, match=r"category must be one of .*airplane.*; got 'dog'"):
        download_keypointnet(tmp_path, "dog")


def test_download_argument_of_the_data_set(hub, tmp_path, monkeypatch):
    here = partial(download_keypointnet, endpoint=hub.url)
    monkeypatch.setattr("pcsargmax.datasets.download.download_keypointnet", here)
    dataset = KeypointNet(tmp_path, "mug", "train", download=True)
    assert (len(dataset), dataset.missing) == (2, ())
