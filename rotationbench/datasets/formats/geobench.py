"""GeoBenchMeta, the benchmark of FreeFine: edits of objects by parameters instead of points."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from rotationbench.datasets.folders import Folder
from rotationbench.datasets.formats.base import Entry, Format, outermost
from rotationbench.datasets.masks import read_mask
from rotationbench.datasets.reading import (
    LARGEST_LISTING_BYTES,
    MISSING,
    Pairs,
    Problems,
    check_pairs,
    check_size,
    described,
    is_number,
    read_json,
    read_picture,
    text_of,
)
from rotationbench.points import ImagePoints
from rotationbench.rotation import rotation_matrix
from rotationbench.sample import DragSample, SampleMeta

LISTINGS = ("annotation_2d.json", "annotations_2d.json")
PARAMETERS = ("dx", "dy", "dz", "rx", "ry", "rz", "sx", "sy", "sz")
FILES = ("ori_img_path", "ori_mask_path", "tgt_mask_path", "coarse_input_path")


class GeoBench(Format):
    """`annotations_2d.json`: picture → caption and instances → object → edit, with `edit_param` and paths.

    There are no points: one pair is derived from the parameters. A turn or a change of size takes the mask's pixel that
    is farthest from the centre of the mask's bounding box, the first in reading order whose target lies inside the
    picture; a move takes that centre. `coarse_input_path` is a composite on a filled-in background: a reference.
    Source: Zhu et al., FreeFine, arXiv 2507.23300.
    """

    name = "geobench"
    signature = f"a folder with {' or '.join(LISTINGS)}"

    def marks(self, folder: Folder) -> bool:
        """A listing."""
        return any(folder.holds(name) for name in LISTINGS)

    def find(self, folders: Sequence[Folder], problems: Problems) -> list[Entry]:
        """The edits of every listing, called `<picture>-<object>-<edit>`."""
        entries: list[Entry] = []
        for folder in outermost([folder for folder in folders if self.marks(folder)]):
            names = [folder.names[name] for name in LISTINGS if name in folder.names]
            path = folder.path / names[0]
            if len(names) > 1:
                problems.expected(path, "one listing", " and ".join(names))
                continue
            for picture, content in (read_json(path, problems, largest=LARGEST_LISTING_BYTES) or {}).items():
                entries += _edits(picture, content, path, folder.parents, problems)
        return entries

    def read(self, entry: Entry, problems: Problems) -> DragSample | None:
        """The sample that one edit describes."""
        path, fields = entry.path, entry.fields
        noted = Problems()
        files = {key: _found(path.parent, fields.get(key, MISSING), key, path, noted) for key in FILES}
        image = None if (file := files["ori_img_path"]) is None else read_picture(file, noted)
        size = None if image is None else image.shape[:2]
        reference = None if (file := files["coarse_input_path"]) is None else read_picture(file, noted)
        check_size(files["coarse_input_path"] or path, reference, size, noted)
        masks: list[np.ndarray | None] = []
        for key in ("ori_mask_path", "tgt_mask_path"):
            file = files[key]
            masks.append(None if file is None else read_mask(file, noted, size, may_be_black=False))
        before, after = masks
        prompt = text_of(fields.get("4v_caption", MISSING), "4v_caption", path, noted)
        edit_prompt = text_of(fields.get("edit_prompt", MISSING), "edit_prompt", path, noted)
        label = text_of(fields.get("obj_label", ""), "obj_label", path, noted)
        kind, parameters = _edit_of(fields.get("edit_param", MISSING), path, noted)
        pairs, pivot = None, None
        if before is not None and not before.any():
            noted.expected(files["ori_mask_path"] or path, "something in the object's mask", "a black mask")
        elif before is not None and kind is not None and not noted:
            pivot = centre_of(before)
            pairs = derived_pair(before, pivot, parameters)
            check_pairs(pairs, size, path, noted)
        problems.extend(f"{problem[:-1]} (sample {entry.name})." for problem in noted)
        problems.warnings.extend(noted.warnings)
        if noted or image is None or pairs is None:
            return None
        turns = kind == "rotation"
        meta = SampleMeta(
            category=kind,
            licence="CC-BY-NC-4.0",
            source="GeoBenchMeta",
            pivot=pivot if turns else None,
            angle=parameters["rz"] if turns else None,
            object_mask=before,
            object_mask_target=after,
            extra={"kind": kind, "label": label, "edit_param": list(parameters.values())},
        )
        return DragSample(entry.name, image, prompt, *pairs, meta=meta, reference=reference, edit_prompt=edit_prompt)


def centre_of(mask: np.ndarray) -> tuple[float, float]:
    """`(x, y)`, the centre of the bounding box of a mask bool `(H, W)` that is not empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return float(columns[0] + columns[-1]) / 2, float(rows[0] + rows[-1]) / 2


def derived_pair(mask: np.ndarray, pivot: tuple[float, float], parameters: dict[str, float]) -> Pairs:
    """A source in a mask bool `(H, W)` and where an edit about `pivot` takes it, in whole pixels, halves to even."""
    move = np.array([parameters["dx"], parameters["dy"]])
    if move.any():
        source = np.round(np.array([pivot]))
        return ImagePoints(source), ImagePoints(np.round(source + move))
    linear = rotation_matrix(parameters["rz"]) * np.array([parameters["sx"], parameters["sy"]])
    rows, columns = np.nonzero(mask)
    sources = np.stack([columns, rows], axis=1).astype(np.float64)
    offsets = sources - pivot
    targets = np.round(offsets @ linear.T + pivot)
    inside = ((targets >= 0) & (targets < np.array(mask.shape[::-1]))).all(axis=1)
    # Where everything leaves the picture, the farthest pixel says so.
    reach = np.where(inside | ~inside.any(), (offsets**2).sum(axis=1), -1.0)
    chosen = slice(first := int(reach.argmax()), first + 1)
    return ImagePoints(sources[chosen]), ImagePoints(targets[chosen])


def _edit_of(value: Any, path: Path, problems: Problems) -> tuple[str | None, dict[str, float]]:
    """The kind of an edit and its parameters by name; no kind after noting what is wrong with them."""
    if not isinstance(value, list) or len(value) != len(PARAMETERS) or not all(is_number(part, 1e5) for part in value):
        problems.expected(path, f'numbers [{", ".join(PARAMETERS)}] as "edit_param"', described(value))
        return None, {}
    parameters = {key: float(part) for key, part in zip(PARAMETERS, value, strict=True)}
    kinds = {
        "move": parameters["dx"] != 0 or parameters["dy"] != 0,
        "rotation": parameters["rz"] != 0,
        "resize": parameters["sx"] != 1 or parameters["sy"] != 1,
        "an edit in depth": any(parameters[key] for key in ("dz", "rx", "ry")) or parameters["sz"] != 1,
    }
    found = [kind for kind, is_set in kinds.items() if is_set]
    if len(found) != 1 or found[0] not in ("move", "rotation", "resize") or abs(parameters["rz"]) > 360:
        problems.expected(path, 'one move, turn within ±360° or change of size as "edit_param"', described(value))
        return None, {}
    return found[0], parameters


def _edits(picture: str, content: Any, path: Path, parents: tuple[str, ...], problems: Problems) -> list[Entry]:
    entries: list[Entry] = []
    instances = content.get("instances") if isinstance(content, dict) else None
    if not isinstance(instances, dict):
        problems.expected(path, f'an object as "{picture[:40]}.instances"', described(instances))
        return []
    for thing, edits in instances.items():
        for number, fields in edits.items() if isinstance(edits, dict) else [("", None)]:
            if isinstance(fields, dict):
                caption = {"4v_caption": content.get("4v_caption", MISSING)}
                entries.append(Entry(f"{picture}-{thing}-{number}", path, parents, fields | caption))
            else:
                where = f"{picture[:40]}.instances.{thing[:40]}"
                problems.expected(path, f'objects as the edits of "{where}"', described(edits))
    return entries


def _found(root: Path, name: Any, key: str, path: Path, problems: Problems) -> Path | None:
    """The file below `root` that `name` means: relative to it, or absolute on the machine that wrote the listing.

    Of an absolute path the longest ending that exists below `root` counts.
    """
    if isinstance(name, str) and name.strip() and len(name) < 1000:
        parts = [part for part in PurePosixPath(name).parts if part != "/"]
        absolute = PurePosixPath(name).is_absolute()
        try:
            for skipped in range(len(parts) if absolute else 1):
                candidate = root.joinpath(*parts[skipped:])
                inside = candidate.resolve().is_relative_to(root.resolve())
                if inside and (candidate.exists() or not absolute):
                    return candidate
        except (OSError, RuntimeError, ValueError):
            pass
    problems.expected(path, f'the name of a file below {root} as "{key}"', described(name))
    return None
