"""Results on disk: a folder per edit whose record is the truth, metrics beside it, and one table of all edits."""

from rotationbench.results.edit import RECORD_FILE, SAMPLES, Edit, read_edit
from rotationbench.results.metrics_file import METRICS_FILE, MetricsFile
from rotationbench.results.record import SCHEMA, changed_settings, changes, fingerprint
from rotationbench.results.store import EDITED_FILE, ResultStore
from rotationbench.results.table import TABLE_FILE, edits_table, variant_of, write_table

__all__ = [
    "EDITED_FILE",
    "METRICS_FILE",
    "RECORD_FILE",
    "SAMPLES",
    "SCHEMA",
    "TABLE_FILE",
    "Edit",
    "MetricsFile",
    "ResultStore",
    "changed_settings",
    "changes",
    "edits_table",
    "fingerprint",
    "read_edit",
    "variant_of",
    "write_table",
]
