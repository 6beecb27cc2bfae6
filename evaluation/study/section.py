"""The user study's part of a report, for each results folder that has one."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from evaluation.report.collect import ResultsFolder
from evaluation.report.sections import Section
from evaluation.study.paths import DATABASE_FILE, FOLDER
from rotationbench.errors import ConfigError

log = logging.getLogger(__name__)


class StudySection:
    """Adds the results of studies, by the rules that their servers were started with last.

    Args:
        database: SQLAlchemy URL of a study in another place; None is the file in each results folder.
        published: shares of votes of another study by label, to be drawn beside these.
    """

    def __init__(self, database: str | None = None, published: dict[str, float] | None = None) -> None:
        self.database = database
        self.published = published or {}

    def __call__(self, folders: Sequence[ResultsFolder]) -> list[Section]:
        """See `evaluation.report.sections.SectionMaker`; a study without votes is passed over."""
        found = []
        for folder in folders:
            if self.database is not None or (folder.root / FOLDER / DATABASE_FILE).is_file():
                try:
                    found.append(self._section(folder, several=len(folders) > 1))
                except ConfigError as error:
                    log.warning("The report has no user study: %s", error)
        return found

    def _section(self, folder: ResultsFolder, *, several: bool) -> Section:
        # Reports are also made where the libraries of studies are not installed.
        try:
            from evaluation.study.database import Database  # noqa: PLC0415
            from evaluation.study.results import figures, study_results, tables  # noqa: PLC0415
            from evaluation.study.settings import database_url  # noqa: PLC0415
        except ImportError as error:
            raise ConfigError(f"expected rotationbench[study] to be installed, got: {error}.") from error
        database = Database(database_url(self.database, folder.root), create=False)
        results = study_results(database, folder.root)
        database.close()
        where = f" of {folder.name}" if several else ""
        ending = f"_{folder.name.replace('/', '_')}" if several else ""
        return Section(
            f"User study{where}",
            tables(results, self.published),
            [(f"study_{name}{ending}", caption, figure) for name, caption, figure in figures(results, self.published)],
        )
