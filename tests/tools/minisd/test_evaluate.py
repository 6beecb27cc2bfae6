from __future__ import annotations

import numpy as np
from PIL import Image

from tools.minisd.evaluate import Row, as_table, write_pictures
from tools.minisd.recipe import (
    Composition,
    EvaluationRecipe,
    Recipe,
)


def test_in_domain_pictures_are_written_as_files(assets, tmp_path):
    recipe = Recipe(composition=Composition(side=32, objects="all"), evaluation=EvaluationRecipe(compositions=3))
    paths = write_pictures(recipe, assets, tmp_path / "pictures")
    assert sorted((tmp_path / "pictures").iterdir()) == paths and len(paths) == 3
    pictures = [np.asarray(Image.open(path)) for path in paths]
    assert {picture.shape for picture in pictures} == {(32, 32, 3)}
    assert len({picture.tobytes() for picture in pictures}) == 3
    again = write_pictures(recipe, assets, tmp_path / "again")
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in paths]


def test_table_shows_what_was_not_measured():
    table = as_table([Row("PSNR", 27.456, "dB", "≥ 27"), Row("PCK", None, "")])
    assert "| PSNR | 27.5 dB | ≥ 27 |" in table and "| PCK | not measured |  |" in table
    row = Row.of("MD", np.arange(40.0), "px", statistic=np.median)
    assert row.value == 19.5 and 8 < row.low < 19.5 < row.high < 31
    assert f"| MD | 19.5 px ({row.low:.3g} to {row.high:.3g}) |  |" in as_table([row])
    assert Row.of("MD", [], "px").value is None and Row.of("MD", [3.0], "px").low is None
