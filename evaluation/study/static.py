"""A study in one HTML file, which asks the same questions without a server and saves the answers as JSON."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import select

from evaluation.study import pages
from evaluation.study.participation import Participation
from evaluation.study.schema import Picture
from evaluation.study.texts import Texts
from rotationbench.files import whole_file
from rotationbench.results.store import storage_errors


def write_static(participation: Participation, path: Path, title: str, texts: Mapping[str, Texts]) -> int:
    """Write the file; returns its size in bytes.

    Whoever opens it is given one of the questionnaires by chance. It holds pictures by their random tokens, and neither
    labels nor names of samples nor which option of a check is right.

    Args:
        participation: the study.
        path: of the file.
        title: heading of the page.
        texts: what the page says, by language.

    Raises:
        ResultsError: when it cannot be written.
    """
    questionnaires: dict[str, list[dict[str, Any]]] = {
        str(number): [
            {
                "figure": shown.figure,
                "plain": shown.plain,
                "width": shown.size[0],
                "height": shown.size[1],
                "options": list(shown.pictures),
            }
            for shown in paper
        ]
        for number, paper in enumerate(participation.questionnaires)
    }
    wanted = {
        token
        for paper in participation.questionnaires
        for shown in paper
        for token in (shown.figure, shown.plain, *shown.pictures)
    }
    with participation.database.reading() as session:
        pictures = {
            picture.token: "data:image/webp;base64," + base64.b64encode(picture.content).decode()
            for picture in session.scalars(select(Picture).order_by(Picture.token))
            if picture.token in wanted
        }
    content = {
        "study": participation.key,
        "kind": participation.kind,
        "questionnaires": questionnaires,
        "pictures": pictures,
    }
    page = pages.page_in_a_file(title, {"title": title, "texts": dict(texts)}, content)
    with storage_errors(path.parent), whole_file(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path.stat().st_size
