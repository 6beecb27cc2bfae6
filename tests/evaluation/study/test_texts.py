from __future__ import annotations

import json

import pytest

from evaluation.study.texts import LANGUAGES, read_texts, to_html
from rotationbench.errors import ConfigError


def write_translation(folder, **changes):
    english = json.loads((LANGUAGES / "en.json").read_text("utf-8"))
    (folder / "de.json").write_text(json.dumps(english | {"language": "Deutsch"} | changes), encoding="utf-8")
    (folder / "de.md").write_text("Bitte *wählen*.", encoding="utf-8")
    return str(folder / "de.json")


def test_a_translation_adds_a_language(tmp_path):
    texts = read_texts([write_translation(tmp_path)])
    assert list(texts) == ["en", "de"]
    assert texts["de"]["language"] == "Deutsch" and "<em>wählen</em>" in texts["de"]["instructions"]
    (tmp_path / "own.md").write_text("# Mine", encoding="utf-8")
    assert read_texts(text=str(tmp_path / "own.md"))["en"]["instructions"] == "<h1>Mine</h1>\n"


def test_translations_that_cannot_be_used_are_one_line(tmp_path):
    path = write_translation(tmp_path, progress="Frage {place}")
    with pytest.raises(
        ConfigError, match=r"de.json: progress: expected \['count', 'place'\] in braces, got \['place'\]"
    ):
        read_texts([path])
    path = write_translation(tmp_path, new="x")
    with pytest.raises(ConfigError, match="unknown: new"):
        read_texts([path])
    write_translation(tmp_path, direction="up")
    with pytest.raises(ConfigError, match="direction: expected ltr or rtl"):
        read_texts([path])
    (tmp_path / "de.json").write_text('{"next": 1}')
    with pytest.raises(ConfigError, match="expected an object of texts"):
        read_texts([path])
    (tmp_path / "de.json").write_text("{")
    with pytest.raises(ConfigError, match="expected JSON"):
        read_texts([path])
    write_translation(tmp_path)
    (tmp_path / "de.md").unlink()
    with pytest.raises(ConfigError, match=r"de\.md: expected a text file"):
        read_texts([path])
    for name in ("none.json", "Notes.json", "de.txt"):
        with pytest.raises(ConfigError, match=r"study\.translations"):
            read_texts([str(tmp_path / name)])


def test_markdown_stays_text():
    page = to_html("<script>alert(1)</script>\n\n![x](http://elsewhere.example/x.png) [a](javascript:alert(1))")
    assert "<script" not in page and "<img" not in page and 'href="javascript' not in page
