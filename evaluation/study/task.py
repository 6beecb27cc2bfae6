"""`task=study`: make a user study out of a results folder, or go on with the one that is there, and serve it."""

from __future__ import annotations

import logging
from pathlib import Path

from omegaconf import DictConfig

from evaluation.study.database import Database
from evaluation.study.organiser import organiser_token
from evaluation.study.participation import Participation
from evaluation.study.server import make_app
from evaluation.study.settings import database_url
from evaluation.study.setup import StudyConfig, open_study
from evaluation.study.static import write_static
from evaluation.study.texts import read_texts
from rotationbench.config import validated
from rotationbench.serving import listening, serve, url_of

log = logging.getLogger(__name__)


def run(config: DictConfig) -> int:
    """Serve the study of `results_dir` until the process is told to end, or write it as a file.

    Args:
        config: the composed configuration; see `StudyConfig`.

    Returns:
        The exit status, 0.

    Raises:
        RotationBenchError: when a setting, an edit or the database cannot be used.
    """
    settings = validated(StudyConfig, config)
    study = settings.study
    texts = read_texts(study.translations, study.text)
    database = Database(database_url(study.database, settings.results_dir))
    made = open_study(database, settings)
    log.info("%s the study in %s.", "Made" if made else "Going on with", database.name)
    participation = Participation(database, 3600 * study.idle_hours)
    if study.static is not None:
        size = write_static(participation, Path(study.static).expanduser(), study.title, texts)
        log.info("The same questions without a server: %s (%.1f MB)", study.static, size / 1e6)
        database.close()
        return 0
    bound = listening(study.host, study.port, "study")
    address = study.public_url or url_of(bound)
    app = make_app(participation, study, texts)
    log.info("Participants: %s", address)
    log.info("Organiser: %s/organiser#token=%s", address.rstrip("/"), organiser_token(participation.secret))
    serve(app, bound)
    database.close()
    return 0
