"""RotationBench: drag-based image editing under in-plane rotation, run and measured."""

__version__ = "0.1.0"
