"""Fetching the HPatches sequences (Balntas et al., CVPR 2017): resumable, checked, clear when there is no network."""

from __future__ import annotations

import shutil
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from tqdm import tqdm

from evaluation.table1.pictures import HPATCHES_SEQUENCES, hpatches_sequences
from rotationbench.errors import DatasetError
from rotationbench.files import whole_file

ARCHIVE_URL = "https://huggingface.co/datasets/vbalnt/hpatches/resolve/main/hpatches-sequences-release.zip"
RELEASE_FOLDER = "hpatches-sequences-release"
BLOCK = 2**20


def download_hpatches(root: Path, url: str = ARCHIVE_URL) -> None:
    """Bring the reference pictures of the 57 illumination sequences to `root`, unless they are there.

    The archive (1.3 GB) is kept beside them while it is incomplete, so that the next call goes on where this one
    stopped; every member's CRC is checked. No digest of the archive has been published, so none is compared.

    Args:
        root: folder that will hold `i_*/1.ppm`.
        url: address of the archive.

    Raises:
        DatasetError: without a network, when the server refuses, or when the archive is damaged or incomplete.
    """
    if _is_complete(root):
        return
    root.mkdir(parents=True, exist_ok=True)
    archive = root / f"{RELEASE_FOLDER}.zip.part"
    try:
        _fetch(url, archive)
    except (URLError, TimeoutError, ConnectionError) as error:
        reason = error.reason if isinstance(error, URLError) else error
        raise DatasetError(
            [
                f"{root}: HPatches could not be fetched from {url}: {reason}. Without a network, put the unpacked "
                f"folder `{RELEASE_FOLDER}` on this machine and name it: data=hpatches data.root=<folder>."
            ]
        ) from error
    try:
        _unpack(archive, root)
    except DatasetError:
        archive.unlink()
        raise
    archive.unlink()


def _is_complete(root: Path) -> bool:
    try:
        return root.is_dir() and len(hpatches_sequences(root)) >= HPATCHES_SEQUENCES
    except DatasetError:  # an interrupted call may have left a sequence without its picture
        return False


def _fetch(url: str, path: Path) -> None:
    """Append to `path` what it lacks of the file at `url`."""
    present = path.stat().st_size if path.exists() else 0
    request = Request(url, headers={"Range": f"bytes={present}-"} if present else {})
    try:
        response = urlopen(request, timeout=60)
    except HTTPError as error:
        if present and error.code == 416:  # nothing lies behind what is there: the file is complete
            return
        raise
    with response:
        resumes = response.status == 206
        length = response.headers.get("Content-Length")
        total = None if length is None else int(length) + (present if resumes else 0)
        with (
            path.open("ab" if resumes else "wb") as stream,
            tqdm(total=total, initial=present if resumes else 0, unit="B", unit_scale=True, desc="HPatches") as bar,
        ):
            while block := response.read(BLOCK):
                stream.write(block)
                bar.update(len(block))
    received = path.stat().st_size
    if total is not None and received < total:
        raise ConnectionError(
            f"the connection ended after {received} of {total} bytes; the next call goes on from there"
        )


def _unpack(archive: Path, root: Path) -> None:
    """Write `i_*/1.ppm` of the archive to `root`; reading a member checks its CRC."""
    try:
        with zipfile.ZipFile(archive) as opened:
            members = {
                PurePosixPath(name).parent.name: name
                for name in opened.namelist()
                if PurePosixPath(name).name == "1.ppm" and PurePosixPath(name).parent.name.startswith("i_")
            }
            if len(members) != HPATCHES_SEQUENCES:
                raise DatasetError(
                    [f"{archive}: expected {HPATCHES_SEQUENCES} illumination sequences, got {len(members)}."]
                )
            for sequence, name in tqdm(sorted(members.items()), desc="unpacking", unit="picture"):
                with (
                    opened.open(name) as source,
                    whole_file(root / sequence / "1.ppm") as temporary,
                    temporary.open("wb") as target,
                ):
                    shutil.copyfileobj(source, target)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise DatasetError(
            [f"{archive}: expected a zip archive, got: {error}. It has been removed; the next call fetches it again."]
        ) from error
