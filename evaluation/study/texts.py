"""What the pages say, in each language: short texts from JSON, instructions and consent from Markdown."""

from __future__ import annotations

import json
import re
import string
from collections.abc import Sequence
from pathlib import Path

from markdown_it import MarkdownIt

from rotationbench.errors import ConfigError
from rotationbench.files import file_fault

LANGUAGES = Path(__file__).parent / "languages"
NAME = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*")
"""What a translation's file is called: a language tag (BCP 47), such as `de` or `pt-BR`."""
LARGEST_TEXT = 200_000
"""Characters of a file at most."""

Texts = dict[str, str]
"""Short texts by name, with `instructions`, which is HTML."""


def read_texts(translations: Sequence[str] = (), text: str | None = None) -> dict[str, Texts]:
    """The texts of each language, English first.

    Args:
        translations: JSON files named after their language, each with a Markdown file of the same name beside it.
        text: Markdown in place of the English instructions that come with the package.

    Raises:
        ConfigError: when a file cannot be read, or a translation lacks a text, has an unknown one, or leaves out what
            stands in braces.
    """
    english = _read_json(LANGUAGES / "en.json")
    markdown = LANGUAGES / "en.md" if text is None else Path(text).expanduser()
    found = {"en": english | {"instructions": to_html(_read(markdown, "study.text"))}}
    for name in translations:
        path = Path(name).expanduser()
        if path.suffix != ".json" or not NAME.fullmatch(path.stem):
            raise ConfigError(
                f"study.translations: expected files named after a language, such as de.json, got {name!r}."
            )
        translated = _read_json(path)
        _require_complete(path, translated, english)
        instructions = to_html(_read(path.with_suffix(".md"), "study.translations"))
        found[path.stem] = translated | {"instructions": instructions}
    return found


def to_html(markdown: str) -> str:
    r"""Markdown as HTML: HTML in it stays text, and pictures, which could come from elsewhere, are left out.

    >>> to_html("**Look** <b>")
    '<p><strong>Look</strong> &lt;b&gt;</p>\n'
    """
    return MarkdownIt("commonmark", {"html": False}).disable("image").render(markdown)


def _read(path: Path, key: str) -> str:
    if fault := file_fault(path):
        raise ConfigError(f"{key}: {path}: expected a text file, got {fault}.")
    try:
        content = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{key}: {path}: expected text in UTF-8, got: {error}.") from error
    if len(content) > LARGEST_TEXT:
        raise ConfigError(f"{key}: {path}: expected at most {LARGEST_TEXT} characters, got {len(content)}.")
    return content


def _read_json(path: Path) -> Texts:
    try:
        content = json.loads(_read(path, "study.translations"))
    except (json.JSONDecodeError, RecursionError) as error:
        raise ConfigError(f"study.translations: {path}: expected JSON, got: {error}.") from error
    if not isinstance(content, dict) or not all(isinstance(value, str) for value in content.values()):
        raise ConfigError(f"study.translations: {path}: expected an object of texts.")
    return content


def _require_complete(path: Path, translated: Texts, english: Texts) -> None:
    missing, unknown = english.keys() - translated.keys(), translated.keys() - english.keys()
    if missing or unknown:
        names = "; ".join(
            f"{what}: {', '.join(sorted(keys))}" for what, keys in (("missing", missing), ("unknown", unknown)) if keys
        )
        raise ConfigError(f"study.translations: {path}: expected the texts of {LANGUAGES.name}/en.json, got {names}.")
    for name, text in english.items():
        if (wanted := _fields(text)) != (got := _fields(translated[name])):
            raise ConfigError(
                f"study.translations: {path}: {name}: expected {sorted(wanted)} in braces, got {sorted(got)}."
            )
    if translated["direction"] not in ("ltr", "rtl"):
        raise ConfigError(
            f"study.translations: {path}: direction: expected ltr or rtl, got {translated['direction']!r}."
        )


def _fields(text: str) -> set[str]:
    try:
        return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}
    except ValueError:
        return {"braces that do not match"}
