"""The formats that `data.format` names, each a module of its own."""

from rotationbench.datasets.formats.base import Entry, Format
from rotationbench.datasets.formats.dragbench_dr import DragBenchDR
from rotationbench.datasets.formats.dragbench_sr import DragBenchSR
from rotationbench.datasets.formats.gooddrag import GoodDrag
from rotationbench.datasets.formats.imagefolder import ImageFolder
from rotationbench.datasets.formats.rotationbench import RotationBench

FORMATS: dict[str, Format] = {
    form.name: form for form in (RotationBench(), DragBenchDR(), DragBenchSR(), GoodDrag(), ImageFolder())
}

__all__ = ["FORMATS", "Entry", "Format"]
