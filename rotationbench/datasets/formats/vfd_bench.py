"""VFD-Bench, the benchmark of FlowDrag: pairs of frames from videos."""

from __future__ import annotations

import re
from typing import Any

from rotationbench.datasets.folders import Folder, file_called, read_main_picture, the_file
from rotationbench.datasets.formats.base import Entry, Format, optional_mask, optional_picture
from rotationbench.datasets.reading import MISSING, Problems, check_pairs, points_of, read_json, split_pairs, text_of
from rotationbench.sample import DragSample, SampleMeta

POINTS = "points.json"
PROMPT = "prompt.json"
FLOW_POINTS = "points_flowdrag.json"


class VFDBench(Format):
    """`input.png`, `points.json` (alternating), `prompt.json`, and optionally `mask.png` and `gt.png`.

    `gt.png` is a later frame of the video: everything may have moved in it, so that it is a reference and no exact
    result. `points_flowdrag.json` is FlowDrag's own input and kept in the metadata, unmeasured.
    Source: Koo et al., FlowDrag, arXiv 2507.08285, section 5.
    """

    name = "vfd_bench"
    signature = f"folders with input.png, {POINTS} and {PROMPT}"
    picture = "input"

    def marks(self, folder: Folder) -> bool:
        """Two of picture, points and prompt."""
        return sum((folder.holds(POINTS), folder.holds(PROMPT), folder.holds_picture(self.picture))) >= 2

    def read(self, entry: Entry, problems: Problems) -> DragSample | None:
        """The sample; what its name says goes to its metadata."""
        before = len(problems)
        image = read_main_picture(entry.path, self.picture, problems)
        size = None if image is None else image.shape[:2]
        path = the_file(entry.path, POINTS, problems)
        config = read_json(path, problems)
        pairs, extra = None, {}
        if config is not None:
            points = points_of(config.get("points", MISSING), "points", path, problems)
            pairs = split_pairs(points, "points", path, problems)
            check_pairs(pairs, size, path, problems)
        path = the_file(entry.path, PROMPT, problems)
        config = read_json(path, problems)
        prompt = "" if config is None else text_of(config.get("prompt", MISSING), "prompt", path, problems)
        if (flow := file_called(entry.path, FLOW_POINTS, problems)) is not None:
            config = read_json(flow, problems)
            points = None if config is None else points_of(config.get("points", MISSING), "points", flow, problems)
            extra["flowdrag_points"] = [] if points is None else points.xy.tolist()
        mask = optional_mask(entry.path, "mask", size, problems)
        reference = optional_picture(entry.path, "gt", size, problems)
        if len(problems) > before or image is None or pairs is None:
            return None
        meta = described_by_name(entry.name)
        meta = SampleMeta(category=meta.category, source=meta.source, extra=meta.extra | extra)
        return DragSample(entry.name, image, prompt, *pairs, mask=mask, meta=meta, reference=reference)


def described_by_name(name: str) -> SampleMeta:
    """What a name `<source>_<id>_<object>_<kind>_<number>` says: source and kind, and whether it ends in `_fail`.

    Where the id is no number, the kind begins after the last number inside the name, as in
    `TVR_Human_hand_1_pose_change`.
    """
    whole, failed = re.subn(r"_fail(?=_\d+$|$)", "", name, flags=re.IGNORECASE)
    source, *words = re.sub(r"_\d+$", "", whole).split("_")
    if not words:
        return SampleMeta()
    numbers = [index for index, word in enumerate(words) if word.isdigit()]
    begin = numbers[-1] + 1 if numbers and numbers != [0] else (2 if numbers else 1)
    kind = "_".join(words[begin:] or words[-1:])
    extra: dict[str, Any] = {"kind": kind} | ({"marked_as_failure": True} if failed else {})
    return SampleMeta(category=kind, source=source, extra=extra)
