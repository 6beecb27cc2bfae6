import threading
import zipfile
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from table1_inputs import save_picture

from evaluation.table1.hpatches import download_hpatches
from evaluation.table1.pictures import hpatches_sequences
from rotationbench.errors import DatasetError


class ArchiveHandler(BaseHTTPRequestHandler):
    """Serves one file with byte ranges; cuts the first answer short when told to."""

    def __init__(self, *args, served: dict, **kwargs):
        self.served = served
        super().__init__(*args, **kwargs)

    def do_GET(self):
        content: bytes = self.served["content"]
        wanted = self.headers.get("Range")
        self.served["ranges"].append(wanted)
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        if start >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        end = self.served.pop("cut", len(content))
        self.wfile.write(content[start:end])

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    served = {"content": b"", "ranges": []}
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(ArchiveHandler, served=served)) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        served["url"] = f"http://127.0.0.1:{http.server_port}/archive.zip"
        yield served
        http.shutdown()


def archive(tmp_path: Path, sequences: int) -> bytes:
    path = tmp_path / "made.zip"
    picture = save_picture(tmp_path / "any.ppm", (16, 16)).read_bytes()
    with zipfile.ZipFile(path, "w") as opened:
        for index in range(sequences):
            for number in (1, 2):
                opened.writestr(f"hpatches-sequences-release/i_{index:02d}/{number}.ppm", picture)
        opened.writestr("hpatches-sequences-release/v_wall/1.ppm", picture)
    return path.read_bytes()


def test_the_archive_is_fetched_and_unpacked_once(tmp_path, server):
    server["content"] = archive(tmp_path, 57)
    root = tmp_path / "hpatches"
    download_hpatches(root, server["url"])
    assert len(hpatches_sequences(root)) == 57
    assert sorted(path.name for path in root.iterdir()) == [f"i_{index:02d}" for index in range(57)]
    download_hpatches(root, server["url"])
    assert server["ranges"] == [None]


def test_an_interrupted_download_goes_on_where_it_stopped(tmp_path, server):
    server["content"] = archive(tmp_path, 57)
    server["cut"] = 5000
    with pytest.raises(DatasetError, match="5000 of"):
        download_hpatches(tmp_path / "hpatches", server["url"])
    download_hpatches(tmp_path / "hpatches", server["url"])
    assert server["ranges"] == [None, "bytes=5000-"]
    assert len(hpatches_sequences(tmp_path / "hpatches")) == 57


def test_a_sequence_left_without_its_picture_is_fetched_again(tmp_path, server):
    root = tmp_path / "hpatches"
    server["content"] = archive(tmp_path, 57)
    download_hpatches(root, server["url"])
    (root / "i_03/1.ppm").unlink()
    download_hpatches(root, server["url"])
    assert len(hpatches_sequences(root)) == 57


def test_an_archive_with_other_sequences_is_refused(tmp_path, server):
    server["content"] = archive(tmp_path, 56)
    with pytest.raises(DatasetError, match=r"expected 57 .* got 56"):
        download_hpatches(tmp_path / "hpatches", server["url"])
    assert not list((tmp_path / "hpatches").iterdir())


@pytest.mark.parametrize("damage", ["truncated", "flipped"])
def test_a_damaged_archive_is_refused_and_removed(tmp_path, server, damage):
    content = bytearray(archive(tmp_path, 57))
    if damage == "truncated":
        content = content[: len(content) // 2]
    else:
        content[200] ^= 0xFF
    server["content"] = bytes(content)
    with pytest.raises(DatasetError, match="zip"):
        download_hpatches(tmp_path / "hpatches", server["url"])
    assert not list((tmp_path / "hpatches").glob("*.part"))


def test_without_a_network_the_message_says_what_to_do(tmp_path):
    with pytest.raises(DatasetError, match=r"could not be fetched .* data\.root="):
        download_hpatches(tmp_path / "hpatches", "http://127.0.0.1:9/archive.zip")
