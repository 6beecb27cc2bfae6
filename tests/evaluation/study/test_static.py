"""The study in a file, and taking in what it saves."""

from __future__ import annotations

import json
import re

from studies import LABELS

from evaluation.study.participation import Participation
from evaluation.study.static import write_static
from evaluation.study.texts import read_texts


def test_the_file_holds_all_and_tells_nothing(database, tmp_path):
    study = Participation(database, 3600)
    size = write_static(study, tmp_path / "study.html", "Which?", read_texts())
    page = (tmp_path / "study.html").read_text("utf-8")
    assert size == (tmp_path / "study.html").stat().st_size
    content = json.loads(re.search(r'id="content">(.*?)</script>', page)[1])
    assert len(content["questionnaires"]) == 4 and content["kind"] == "best"
    assert {
        token for paper in content["questionnaires"].values() for asked in paper for token in asked["options"]
    } <= set(content["pictures"])
    del content["pictures"]
    assert not any(secret in json.dumps(content) for secret in (*LABELS, "blob", "check", "repeat", "exact"))
    assert not re.search(r'(?:src|href)="(?!data:)', page) and "@import" not in page
