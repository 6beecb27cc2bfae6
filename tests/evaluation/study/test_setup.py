"""Making a study: what is stored, that it is made once, and what is refused."""

from __future__ import annotations

import io
import shutil
import threading
from collections import Counter

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import func, select
from studies import LABELS, make_study, settings_of
from synthetic_results import make_sample, write_edit, write_results

from evaluation.study.database import Database
from evaluation.study.design import EXACT, UNCHANGED
from evaluation.study.schema import Picture, Question, Sample, Seat, Study
from evaluation.study.settings import database_url
from evaluation.study.setup import open_study
from rotationbench.errors import ConfigError, DatasetError


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return write_results(tmp_path_factory.mktemp("results"), samples=6, side=96)


@pytest.fixture
def root(results, tmp_path):
    return shutil.copytree(results, tmp_path / "results", ignore=shutil.ignore_patterns("study"))


def decoded(content: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(content)) as picture:
        assert picture.format == "WEBP" and not picture.info.get("exif") and not picture.info.get("icc_profile")
        return np.array(picture.convert("RGB"))


def test_a_study_holds_all_that_is_asked_and_shown(results):
    database = make_study(results)
    with database.reading() as session:
        study = session.get_one(Study, 1)
        assert study.labels == LABELS and study.kind == "best"
        assert session.scalar(select(func.count()).select_from(Seat)) == 4
        kinds = Counter(session.scalars(select(Question.kind)))
        assert kinds == {"vote": 16, "repeat": 4, "check": 4}
        tokens = set(session.scalars(select(Picture.token)))
        assert len(tokens) == 6 * (3 + 2 + 2) == session.scalar(select(func.count()).select_from(Picture))
        for question in session.scalars(select(Question)):
            options = [session.get_one(Picture, token).option for token in question.pictures]
            assert options == question.options
        for number, sample in enumerate(session.scalars(select(Sample).order_by(Sample.id))):
            made = make_sample(number, 96)
            assert sample.name == made.name and sample.angle == made.meta.angle
            own = {
                picture.option: picture.content
                for picture in session.scalars(select(Picture).where(Picture.sample == number))
                if picture.option is not None
            }
            np.testing.assert_array_equal(decoded(own[0]), made.target)
            np.testing.assert_array_equal(decoded(own[EXACT]), made.target)
            np.testing.assert_array_equal(decoded(own[UNCHANGED]), made.image)
            np.testing.assert_array_equal(decoded(session.get_one(Picture, sample.plain).content), made.image)
            assert decoded(session.get_one(Picture, sample.figure).content).shape[0] >= 512


def test_a_study_is_made_once_and_another_needs_another_database(root):
    database, settings = make_study(root), settings_of(root)
    assert not open_study(database, settings)
    settings.study.labels = None
    assert not open_study(database, settings)
    for change, message in (
        ({"questions": 3}, r"study.questions: expected 4, which the study in sqlite:///.* was made with, got 3"),
        ({"labels": LABELS[:2]}, "study.labels: expected .*'backwards'.*, got"),
    ):
        with pytest.raises(ConfigError, match=message):
            open_study(database, settings_of(root, **change))
    other = settings_of(root)
    other.seed = 1
    with pytest.raises(ConfigError, match="seed: expected 0, which"):
        open_study(database, other)
    assert not open_study(database, settings_of(root, failed_checks=2, title="Other"))
    with database.reading() as session:
        assert session.get_one(Study, 1).rules["failed_checks"] == 2


def test_servers_that_start_together_make_one_study(root):
    made = []

    def start():
        database = Database(database_url(None, root))
        made.append(open_study(database, settings_of(root)))
        database.close()

    threads = [threading.Thread(target=start) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(made) == [False, False, True]


def test_pictures_are_made_smaller_when_asked(root):
    database = make_study(root, picture_side=64, picture_quality=80)
    with database.reading() as session:
        shapes = {
            decoded(picture.content).shape for picture in session.scalars(select(Picture)) if picture.option is not None
        }
    assert shapes == {(64, 64, 3)}


def test_what_cannot_be_asked_is_one_line(root):
    for change, message in (
        (
            {"labels": ["truth", "nobody"]},
            r"study.labels: expected labels with edits in .*\(backwards, idle, truth\), got 'nobody'",
        ),
        ({"labels": None}, "study.labels: expected 2 to 8 labels"),
        ({"questions": 7}, "study.questions: expected at most 6, which 6 samples"),
    ):
        with pytest.raises(ConfigError, match=message):
            make_study(root, **change)
    write_edit(root, make_sample(99, 96), "alone", make_sample(99, 96).image)
    with pytest.raises(ConfigError, match=r"study\.labels: expected labels that edited the same samples"):
        make_study(root, labels=["truth", "alone"])
    # Nothing of what failed is left behind.
    assert make_study(root) is not None


def test_an_edit_of_another_sample_or_size_is_refused(root):
    other = make_sample(50, 96)
    object.__setattr__(other, "name", "blob000")
    write_edit(root, other, "idle", other.image)
    with pytest.raises(DatasetError, match=r"idle/blob000: expected an edit of the sample in .*samples/blob000, got"):
        make_study(root)
    write_edit(root, make_sample(0, 96), "idle", make_sample(0, 80).image)
    with pytest.raises(DatasetError, match="expected 96 × 96 pixels as its sample, got 80 × 80"):
        make_study(root)
