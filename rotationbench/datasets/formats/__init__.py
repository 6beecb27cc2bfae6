"""The formats that `data.format` names, each a module of its own, or a plug-in's."""

from functools import lru_cache

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
from rotationbench.plugins import named_classes, origin_of, without_taken

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


@lru_cache(maxsize=1)
def known_formats() -> dict[str, Format]:
    """The project's own formats and those of plug-ins, by name."""
    classes = named_classes("format", Format)  # type: ignore[type-abstract]
    named = {form.name: form for form in (named() for named in classes)}
    return FORMATS | without_taken(named, FORMATS, "format")


def catalogue() -> list[tuple[str, str, str]]:
    """Each format's name, where it comes from, and what it is recognised by."""
    return [(name, origin_of(type(form).__module__), form.signature) for name, form in known_formats().items()]


__all__ = ["FORMATS", "Entry", "Format", "catalogue", "known_formats"]
