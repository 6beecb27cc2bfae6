"""`open_dataset`: a folder of drags, checked as a whole and loaded one sample at a time."""

from __future__ import annotations

import fnmatch
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import overload

from rotationbench.datasets.folders import Folder, folders_below
from rotationbench.datasets.formats import Entry, Format, known_formats
from rotationbench.datasets.formats.rotationbench import IN_DOMAIN, SPLITS
from rotationbench.datasets.reading import Problems, read_text
from rotationbench.errors import ConfigError, DatasetError
from rotationbench.names import folded, name_clashes, name_fault, shortened
from rotationbench.sample import DragSample

log = logging.getLogger(__name__)

LISTS = {"quick": "quick.txt", "demo": "demo.txt"}
"""The file below the root that lists the samples of a subset, a name per line."""
SUBSETS = (*LISTS, "full")
SHOWN_WARNINGS = 10
SHOWN_NAMES = 20


class Dataset(Sequence[DragSample]):
    """Samples by name or position; each access reads its files anew, so that memory holds one sample at a time.

    Args:
        root: the folder.
        form: how it is laid out.
        entries: the samples, with unique names.
    """

    def __init__(self, root: Path, form: Format, entries: Sequence[Entry]) -> None:
        self.root = root
        self.form = form
        self._entries = {entry.name: entry for entry in entries}
        self._warned: dict[str, None] = {}

    @property
    def names(self) -> list[str]:
        """The samples' names, in order."""
        return list(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[DragSample]:
        return (self[name] for name in self._entries)

    @overload
    def __getitem__(self, key: int | str) -> DragSample: ...

    @overload
    def __getitem__(self, key: slice) -> list[DragSample]: ...

    def __getitem__(self, key: int | str | slice) -> DragSample | list[DragSample]:
        """A sample by name or position.

        Raises:
            DatasetError: when there is no sample of that name, or with everything that is wrong with its files.
            IndexError: when there is no sample at that position.
        """
        if isinstance(key, slice):
            return [self[name] for name in self.names[key]]
        if isinstance(key, int):
            key = self.names[key]
        if key not in self._entries:
            raise DatasetError([f"{self.root}: expected one of {_shortened(self.names)}, got {key!r}."])
        problems = Problems()
        sample = self.form.read(self._entries[key], problems)
        self._warn(problems.warnings)
        if sample is None:
            raise DatasetError(problems)
        return sample

    @property
    def warnings(self) -> list[str]:
        """How doubtful files were read, as far as samples have been read."""
        return list(self._warned)

    def path(self, name: str) -> Path:
        """The folder of a sample, or the file that lists it."""
        return self._entries[name].path

    def problems(
        self, names: Iterable[str] | None = None, fault: Callable[[DragSample], str | None] | None = None
    ) -> list[str]:
        """Everything that is wrong with the samples called `names`, or with any; reads their files once.

        Args:
            names: of samples; None means all.
            fault: what else is wrong with a sample that was read, as a sentence; None when nothing is.
        """
        problems = Problems()
        for name in self._entries if names is None else names:
            sample = self.form.read(self._entries[name], problems)
            if sample is not None and fault is not None and (further := fault(sample)):
                problems.note(self.path(name), further)
        self._warn(problems.warnings)
        return problems

    def _warn(self, warnings: Sequence[str]) -> None:
        """Log how doubtful files were read, each once, and only the first few of many."""
        for warning in warnings:
            if warning not in self._warned:
                self._warned[warning] = None
                if len(self._warned) <= SHOWN_WARNINGS:
                    log.warning("%s", warning)
                elif len(self._warned) == SHOWN_WARNINGS + 1:
                    log.warning("%s: more files are read with warnings; validate lists them all.", self.root)


def open_dataset(
    root: Path, format: str = "auto", split: str = "all", subset: str = "full", *, check: bool = True
) -> Dataset:
    """The data set in the folder `root`.

    Args:
        root: a folder with samples below it, or a folder that is a sample itself.
        format: `"auto"` or one of `known_formats`.
        split: `"real"`, `"generated"`, `"in_domain"`, `"any"` for every sample, or `"all"` for every sample of the
            benchmark: those in the split `in_domain` are left out, unless there are no others. Formats without splits
            only have `"all"` and `"any"`.
        subset: `"quick"` or `"demo"` for the samples that the root's `quick.txt` or `demo.txt` lists, a name per line,
            which may be any with `split="all"`; `"full"` for all of the split.
        check: read every file of the chosen samples once, now.

    Raises:
        ConfigError: when `format`, `split` or `subset` is unknown.
        DatasetError: with every problem of every chosen sample; also when the folder, its format, the split or the
            subset cannot be found.
    """
    formats = known_formats()
    for key, value, known in (
        ("data.format", format, ("auto", *formats)),
        ("data.split", split, (*SPLITS, "all", "any")),
        ("data.subset", subset, SUBSETS),
    ):
        if value not in known:
            raise ConfigError(f"{key}: expected one of {', '.join(known)}, got {value!r}.")
    root = Path(root)
    if not root.is_dir():
        raise DatasetError([f"{root}: expected a folder, found {'a file' if root.exists() else 'nothing'}."])
    problems = Problems()
    folders = folders_below(root, problems)
    form = detected(root, folders) if format == "auto" else formats[format]
    entries = form.find(folders, problems)
    if not entries and not problems:
        problems.expected(root, f"{form.signature} ({form.name})", "a folder without any")
    entries = _with_good_names(entries, problems)
    if split in SPLITS:
        entries = _of_split(root, form, entries, split, problems)
    if subset in LISTS:
        entries = _of_list(root / LISTS[subset], entries, split, problems)
    elif split == "all":
        entries = _of_benchmark(form, entries)
    dataset = Dataset(root, form, entries)
    if check:
        problems = Problems(dict.fromkeys((*problems, *dataset.problems())))
    if problems:
        raise DatasetError(problems)
    return dataset


def chosen_names(names: Sequence[str], patterns: Sequence[str] | None, limit: int | None) -> list[str]:
    """The sample names that are or match one of the patterns, in their own order, at most `limit` of them.

    Args:
        names: all names.
        patterns: names or globs; None means all. What is a name is not taken for a glob.
        limit: None means no limit.

    Raises:
        ConfigError: when a pattern matches nothing.

    >>> chosen_names(["cat", "clock", "dog"], ["c*"], None)
    ['cat', 'clock']
    """
    chosen = list(names)
    if patterns is not None:
        found = {
            pattern: {pattern} if pattern in chosen else {name for name in names if fnmatch.fnmatchcase(name, pattern)}
            for pattern in patterns
        }
        lost = [pattern for pattern, matches in found.items() if not matches]
        if lost:
            listing = ", ".join(names[:SHOWN_NAMES]) + (", …" if len(names) > SHOWN_NAMES else "")
            raise ConfigError(f"samples: expected names or globs of samples, got {lost}; there are: {listing}")
        chosen = [name for name in names if any(name in matches for matches in found.values())]
    return chosen[:limit]


def detected(root: Path, folders: Sequence[Folder]) -> Format:
    """The format of the samples among `folders`.

    Raises:
        DatasetError: when no format, or more than one, is found.
    """
    formats = known_formats().values()
    counts = {form.name: sum(map(form.marks, folders)) for form in formats}
    found = [form for form in formats if counts[form.name]]
    included = {name for form in found for name in form.includes}
    candidates = [form for form in found if form.name not in included]
    if not candidates:
        sought = "; ".join(f"{form.signature} ({form.name})" for form in formats)
        raise DatasetError([f"{root}: expected samples of a known format, found none. Looked for {sought}."])
    if len(candidates) > 1:
        names = ", ".join(f"{form.name} ({counts[form.name]})" for form in candidates)
        raise DatasetError([f"{root}: expected samples of one format, found {names}. Name one as data.format."])
    return candidates[0]


def _with_good_names(entries: Sequence[Entry], problems: Problems) -> list[Entry]:
    """Entries whose names can be folders beside each other: those that share one get their folders' names in front."""
    clashing = {folded(name) for _, name in name_clashes(entry.name for entry in entries)}
    renamed = [
        replace(entry, name="-".join((*entry.parents, entry.name))) if folded(entry.name) in clashing else entry
        for entry in entries
    ]
    good = []
    for entry in renamed:
        if fault := name_fault(entry.name):
            problems.note(entry.path, f"{fault} (the sample's name).")
        else:
            good.append(entry)
    for first, name in name_clashes(entry.name for entry in good):
        path = next(entry.path for entry in reversed(good) if entry.name == name)
        problems.note(path, f"expected a name of its own, got {shortened(name)} beside {shortened(first)}.")
    return good


def _of_split(root: Path, form: Format, entries: Sequence[Entry], split: str, problems: Problems) -> list[Entry]:
    splits = [form.split_of(entry, problems) for entry in entries]
    chosen = [entry for entry, of in zip(entries, splits, strict=True) if of == split]
    if not chosen and entries:
        present = ", ".join(sorted({str(of) for of in splits if of is not None})) or "none that names a split"
        problems.expected(root, f"samples of the split {split!r}", present)
    return chosen


def _of_benchmark(form: Format, entries: Sequence[Entry]) -> list[Entry]:
    """Entries outside the split `in_domain`, or all where there are no others."""
    # Faults in the files that name the splits are noted when the samples are read.
    return [entry for entry in entries if form.split_of(entry, Problems()) != IN_DOMAIN] or list(entries)


def _of_list(path: Path, entries: Sequence[Entry], split: str, problems: Problems) -> list[Entry]:
    text = read_text(path, problems)
    if text is None:
        return []
    listed = [line.strip() for line in text.split("\n") if line.strip() and not line.startswith("#")]
    by_name = {entry.name: entry for entry in entries}
    if split not in SPLITS:
        for name in listed:
            if name not in by_name:
                problems.expected(path, "names of samples", f"{shortened(name)}, which is none")
    chosen = [by_name[name] for name in listed if name in by_name]
    if not chosen and not problems:
        problems.expected(path, f"a sample of the split {split!r}", "none")
    return chosen


def _shortened(names: Sequence[str], limit: int = 8) -> str:
    listing = ", ".join(names[:limit])
    return listing if len(names) <= limit else f"{listing} and {len(names) - limit} more"
