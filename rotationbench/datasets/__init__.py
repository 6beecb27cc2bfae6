"""Data sets of drags: RotationBench's own folders and the formats of the field, read into `DragSample`."""

from rotationbench.datasets.dataset import Dataset, chosen_names, open_dataset
from rotationbench.datasets.formats import FORMATS
from rotationbench.datasets.writing import write_sample

__all__ = ["FORMATS", "Dataset", "chosen_names", "open_dataset", "write_sample"]
