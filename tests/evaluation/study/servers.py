"""Servers for tests: a study's in a process of its own, and PostgreSQL in a folder of its own."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from rotationbench.config import project_root

SCRIPT = """
import sys
from evaluation.study.database import Database
from evaluation.study.participation import Participation
from evaluation.study.server import make_app
from evaluation.study.settings import StudySettings
from evaluation.study.texts import read_texts
from rotationbench.serving import listening, serve
app = make_app(Participation(Database(sys.argv[1]), 86400), StudySettings(), read_texts())
serve(app, listening("127.0.0.1", int(sys.argv[2]), "study"))
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


class StudyServer:
    """The server of the study at a database's URL, in a process of its own that can be killed and started again."""

    def __init__(self, url: str) -> None:
        self.url, self.port = url, free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-c", SCRIPT, self.url, str(self.port)]
        self.process = subprocess.Popen(command, cwd=project_root())
        end = time.monotonic() + 120
        while True:
            try:
                httpx.get(f"{self.address}/api/state", timeout=5)
                return
            except httpx.TransportError:
                assert self.process.poll() is None and time.monotonic() < end, "the server did not start"
                time.sleep(0.1)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def __enter__(self) -> StudyServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(30)


def postgresql() -> Path | None:
    """The folder of PostgreSQL's programs; None where it is not installed, or where there is no user to run it."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb")) or [Path(shutil.which("initdb") or "/nowhere")]
    if not found[-1].is_file() or (os.getuid() == 0 and not _as_user()):
        return None
    return found[-1].parent


@contextmanager
def running_postgresql(programs: Path) -> Iterator[str]:
    """The URL of an empty database of a PostgreSQL that lives as long as the block."""
    root, prefix = Path(tempfile.mkdtemp(prefix="study-postgresql-")), _as_user()
    port = free_port()
    if prefix:
        shutil.chown(root, "postgres")
    data = str(root / "data")

    def run(*command: str) -> None:
        subprocess.run([*prefix, *command], check=True, cwd=root, stdout=subprocess.DEVNULL, timeout=120)

    try:
        run(str(programs / "initdb"), "-D", data, "-A", "trust", "-U", "study", "-E", "UTF8", "--no-instructions")
        options = f"-p {port} -k {root} -c listen_addresses=127.0.0.1"
        run(str(programs / "pg_ctl"), "-D", data, "-o", options, "-l", str(root / "log"), "-w", "start")
        try:
            yield f"postgresql+psycopg://study@127.0.0.1:{port}/postgres"
        finally:
            run(str(programs / "pg_ctl"), "-D", data, "-m", "fast", "-w", "stop")
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _as_user() -> list[str]:
    """What makes a command run as another user than root, whom PostgreSQL refuses."""
    if os.getuid() != 0:
        return []
    known = Path("/etc/passwd").read_text(encoding="utf-8")
    return ["runuser", "-u", "postgres", "--"] if shutil.which("runuser") and "\npostgres:" in known else []
