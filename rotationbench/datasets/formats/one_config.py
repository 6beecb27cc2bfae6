"""What DragBench-SR and Drag100 share: a folder with a picture, a JSON file with the drags, and a mask if any."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Any, ClassVar

from rotationbench.datasets.folders import Folder, read_main_picture, the_file
from rotationbench.datasets.formats.base import Entry, Format, optional_mask
from rotationbench.datasets.formats.vfd_bench import VFDBench
from rotationbench.datasets.masks import HALF
from rotationbench.datasets.reading import Pairs, Problems, check_pairs, read_json
from rotationbench.sample import DragSample, SampleMeta


class OneConfig(Format):
    """A sample whose drags stand in the JSON file `config`; a mask's pixels above `mask_above` may change."""

    config: ClassVar[str]
    picture: ClassVar[str]
    mask_above: ClassVar[int] = HALF

    @abstractmethod
    def drags(self, config: dict[str, Any], path: Path, problems: Problems) -> tuple[Pairs | None, str]:
        """The pairs, None after noting what is wrong with them, and the prompt that the file `path` holds."""

    def category(self, entry: Entry) -> str | None:
        """The category of a sample."""
        return entry.category

    def marks(self, folder: Folder) -> bool:
        """The file with drags, in a folder that is not VFD-Bench's."""
        return folder.holds(self.config) and not VFDBench().marks(folder)

    def accepts(self, folder: Folder) -> bool:
        """Any folder with the file with drags."""
        return folder.holds(self.config)

    def read(self, entry: Entry, problems: Problems) -> DragSample | None:
        """The sample; without a `mask.png` its mask is None."""
        before = len(problems)
        image = read_main_picture(entry.path, self.picture, problems)
        size = None if image is None else image.shape[:2]
        path = the_file(entry.path, self.config, problems)
        config = read_json(path, problems)
        pairs, prompt = (None, "") if config is None else self.drags(config, path, problems)
        check_pairs(pairs, size, path, problems)
        mask = optional_mask(entry.path, "mask", size, problems, above=self.mask_above)
        if len(problems) > before or image is None or pairs is None:
            return None
        return DragSample(entry.name, image, prompt, *pairs, mask=mask, meta=SampleMeta(category=self.category(entry)))
