"""Edits that were made elsewhere: found in a folder or a zip archive, and filed like any others."""

from rotationbench.foreign.edits import ForeignEdits, find_edits
from rotationbench.foreign.files import Files, open_files

__all__ = ["Files", "ForeignEdits", "find_edits", "open_files"]
