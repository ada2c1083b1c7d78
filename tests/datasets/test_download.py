import hashlib
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from db3.datasets.download import check_md5, fetch, unpack_missing
from db3.errors import DataError

CONTENT = b"published content" * 1000
MD5 = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()


class Server:
    """A web server on this machine that remembers what was fetched."""

    def __init__(self, folder: Path) -> None:
        requests: list[str] = []

        class Handler(SimpleHTTPRequestHandler):
            def log_request(self, *answer: object) -> None:
                del answer
                requests.append(self.path)

        self.requests = requests
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
        self.address = f"http://127.0.0.1:{self.http.server_port}"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "data.gz").write_bytes(CONTENT)
    server = Server(tmp_path / "web")
    thread = threading.Thread(target=server.http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.http.shutdown()
    server.http.server_close()
    thread.join()


def test_a_file_is_fetched_once_from_the_first_mirror_that_has_it(server: Server, tmp_path: Path) -> None:
    addresses = [f"{server.address}/absent/data.gz", f"{server.address}/data.gz"]
    assert fetch(addresses, tmp_path / "root", "data.gz", MD5).read_bytes() == CONTENT
    first = list(server.requests)
    assert {"/absent/data.gz", "/data.gz"} == set(first)
    assert fetch(addresses, tmp_path / "root", "data.gz", MD5).read_bytes() == CONTENT
    assert server.requests == first
    assert [path.name for path in (tmp_path / "root").iterdir()] == ["data.gz"]


def test_a_wrong_file_is_not_kept(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot fetch data.gz .*corrupted.*: check the network"):
        fetch([f"{server.address}/data.gz"], tmp_path / "root", "data.gz", "0" * 32)
    assert list((tmp_path / "root").iterdir()) == []


def test_a_closed_port_is_one_line(server: Server, tmp_path: Path) -> None:
    server.http.shutdown()
    server.http.server_close()
    with pytest.raises(DataError, match=r"cannot fetch data.gz from") as caught:
        fetch([f"{server.address}/data.gz"], tmp_path / "root", "data.gz", MD5)
    assert "\n" not in str(caught.value)


def test_a_root_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "root").write_text("")
    with pytest.raises(DataError, match=r"cannot write into .*root"):
        fetch(["http://127.0.0.1:9/x"], tmp_path / "root", "data.gz", MD5)


def test_unpacking_leaves_what_is_there(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    for name in ("a", "b"):
        (inside / name).write_text(f"published {name}")
    archive = tmp_path / "data.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(inside, "batches")
    md5 = hashlib.md5(archive.read_bytes(), usedforsecurity=False).hexdigest()
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "a").write_text("own a")
    unpack_missing(archive, md5, "batches", tmp_path / "root")
    assert {path.name: path.read_text() for path in (tmp_path / "root").iterdir()} == {"a": "own a", "b": "published b"}
    with pytest.raises(DataError, match="the published file has"):
        unpack_missing(archive, "0" * 32, "batches", tmp_path / "root")


def test_md5_is_compared(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(CONTENT)
    check_md5(tmp_path / "file", MD5)
    with pytest.raises(DataError, match=f"has MD5 {MD5}; the published file has 1"):
        check_md5(tmp_path / "file", "1" * 32)
    with pytest.raises(DataError, match=r"cannot read .*absent"):
        check_md5(tmp_path / "absent", MD5)
