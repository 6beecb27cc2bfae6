"""Results of a study that was answered: files, tables, figures, exclusions, and its part of the report."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from sqlalchemy import update
from studies import LABELS, answer_study, make_study
from tests_helpers import compose_config

from evaluation.report.build import run as report
from evaluation.report.collect import read_folders
from evaluation.study.answers import KNOWN_OPTIONS, read_answers
from evaluation.study.database import Database
from evaluation.study.design import EXACT
from evaluation.study.results import run
from evaluation.study.rules import Rules
from evaluation.study.schema import Answer
from evaluation.study.section import StudySection
from evaluation.study.settings import database_url
from rotationbench.errors import ConfigError


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A study in which all prefer the truth, two of ten fail the check, and one of them is too fast as well."""
    root = tmp_path_factory.mktemp("results")
    database = make_study(root, participants=10, questions=6, repeats=0.3, checks=1, min_seconds=1.5)
    answer_study(database, LABELS, careless=2)
    with database.writing() as session:
        first = read_answers(session).participants["id"].iloc[0]
        session.execute(update(Answer).where(Answer.participant == first).values(seconds=0.2))
    database.close()
    return root


def test_answers_say_who_was_shown_and_chose_what(root):
    with Database(database_url(None, root)).reading() as session:
        answers = read_answers(session)
    assert len(answers.table) == 10 * 9 and len(answers.votes) == 8 * 6
    people = answers.participants
    assert (people["answered"] == 9).all() and people["failed_checks"].sum() == 2
    checks = answers.table[answers.table["kind"] == "check"]
    assert set(checks["shown"].map(lambda shown: tuple(sorted(shown)))) == {tuple(sorted(KNOWN_OPTIONS.values()))}
    assert (checks["chosen"].map(lambda chosen: chosen[0]) == KNOWN_OPTIONS[EXACT]).sum() == 8
    votes = answers.votes
    assert set(votes["chosen"]) == {("truth",)}
    assert all(sorted(shown) == sorted(LABELS) for shown in votes["shown"])


def test_rules_leave_out_with_reasons(root):
    with Database(database_url(None, root)).reading() as session:
        strict = read_answers(session, Rules(failed_checks=0, min_seconds=1.5)).participants
        lenient = read_answers(session, Rules(failed_checks=1, min_seconds=0)).participants
    reasons = [each for each in strict["reasons"] if each]
    assert len(reasons) == 2 and all("failed 1 check" in each for each in reasons)
    assert sum("answered in 0.2 s (median), 1.5 s are needed" in each for each in reasons) == 1
    assert (lenient["reasons"] == "").all()


def test_results_are_written(root, capsys):
    config = compose_config("task=study_results", f"results_dir={root}", "study_results.published={truth: 0.6}")
    assert run(config) == 0
    assert "| truth | 48 | 48 | **100.0" in capsys.readouterr().out
    output = root / "study" / "results"
    found = json.loads((output / "results.json").read_text("utf-8"))
    assert found["shares"]["truth"]["value"] == 1 and found["votes"] == 48 and len(found["left_out"]) == 2
    assert found["strengths"]["truth"]["value"] > 1 > found["strengths"]["idle"]["value"]
    assert found["repeats"]["value"] == 1 and found["repeats"]["questions"] == 16
    assert found["published"] == {"truth": 0.6} and found["metrics"] == {}
    assert set(found["groups"]["split"]) == {"generated", "real"}
    table = pd.read_csv(output / "answers.csv")
    assert len(table) == 90 and set(table["chosen"]) <= {*LABELS, *KNOWN_OPTIONS.values()}
    for ending in ("pdf", "svg", "png"):
        assert (output / f"figure4.{ending}").stat().st_size > 1000
        assert (output / f"strengths.{ending}").is_file()
    assert "Fleiss" in (output / "results.md").read_text("utf-8")
    assert r"\begin{tabular}" in (output / "results.tex").read_text("utf-8")


def test_the_report_shows_the_study(root, monkeypatch):
    # The plots of edits have tests of their own and take their time.
    monkeypatch.setattr("evaluation.report.build.all_plots", lambda *_: iter(()))
    assert report(compose_config("task=report", f"results_dir={root}")) == 0
    page = (root / "report" / "report.html").read_text("utf-8")
    assert "<h2>User study</h2>" in page and "Fleiss" in page
    assert (root / "report" / "plots" / "study_figure4.svg").is_file()
    assert "### User study" in (root / "report" / "summary.md").read_text("utf-8")


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("study_results.published={nobody: 0.5}", "expected labels among truth, idle, backwards, got nobody"),
        ("study_results.published={truth: 50}", "study_results.published.truth: expected a share of 0 to 1, got 50"),
        ("study_results.database=sqlite:///none.sqlite3", "expected the database of a study, found none"),
    ],
)
def test_wrong_settings_are_one_line(root, setting, message):
    with pytest.raises(ConfigError, match=message):
        run(compose_config("task=study_results", f"results_dir={root}", setting))


def test_a_study_without_votes_says_so_and_a_report_goes_without(tmp_path, caplog):
    make_study(tmp_path).close()
    with pytest.raises(ConfigError, match=r"expected votes in .*, got none that count \(0 answers of 0 participants\)"):
        run(compose_config("task=study_results", f"results_dir={tmp_path}"))
    assert StudySection()(read_folders([tmp_path])) == []
    assert "The report has no user study" in caplog.text
