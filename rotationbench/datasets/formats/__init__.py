"""The formats that `data.format` names, each a module of its own."""

from rotationbench.datasets.formats.base import Entry, Format
from rotationbench.datasets.formats.dragbench_dr import DragBenchDR
from rotationbench.datasets.formats.dragbench_sr import DragBenchSR
from rotationbench.datasets.formats.geobench import GeoBench
from rotationbench.datasets.formats.gooddrag import GoodDrag
from rotationbench.datasets.formats.imagefolder import ImageFolder
from rotationbench.datasets.formats.inpaint4drag import Inpaint4Drag
from rotationbench.datasets.formats.red_bench import ReDBench
from rotationbench.datasets.formats.regiondrag import RegionDrag
from rotationbench.datasets.formats.rotationbench import RotationBench
from rotationbench.datasets.formats.vfd_bench import VFDBench

FORMATS: dict[str, Format] = {
    form.name: form
    for form in (
        RotationBench(),
        DragBenchDR(),
        DragBenchSR(),
        GoodDrag(),
        ImageFolder(),
        VFDBench(),
        ReDBench(),
        GeoBench(),
        RegionDrag(),
        Inpaint4Drag(),
    )
}

__all__ = ["FORMATS", "Entry", "Format"]
