"""The pages of a study, put together from the files of this folder, which browsers get as they are."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
MODULES = ("element", "zoom", "answering", "question", "participant", "organiser")
"""Each is imported as `study/<name>`, wherever it is kept."""


def linked_page(name: str, title: str, settings: Mapping[str, Any]) -> tuple[str, str]:
    """A page whose modules and style lie beside it on a server.

    Args:
        name: `"participant"` or `"organiser"`.
        title: its title.
        settings: what its script reads from `#settings`.

    Returns:
        The page, and the source that its content security policy must allow for the map of modules.
    """
    modules = json.dumps({"imports": {f"study/{module}": f"./pages/{module}.js" for module in MODULES}})
    allowed = "'sha256-" + base64.b64encode(hashlib.sha256(modules.encode()).digest()).decode() + "'"
    head = (
        '<link rel="stylesheet" href="pages/study.css">\n<link rel="icon" href="pages/icon.svg">\n'
        f'<script type="importmap">{modules}</script>'
    )
    scripts = data_block("settings", settings) + f'\n<script type="module" src="pages/{name}.js"></script>'
    return _filled(name, title, head, scripts), allowed


def page_in_a_file(title: str, settings: Mapping[str, Any], content: Mapping[str, Any]) -> str:
    """The participant's page with everything in it: modules, style, and the study's content in `#content`."""
    addresses = {
        f"study/{module}": _address("text/javascript", (FOLDER / f"{module}.js").read_bytes())
        for module in MODULES
        if module != "organiser"
    }
    style = (FOLDER / "study.css").read_text(encoding="utf-8")
    icon = _address("image/svg+xml", (FOLDER / "icon.svg").read_bytes())
    head = (
        f'<style>{style}</style>\n<link rel="icon" href="{icon}">\n'
        f'<script type="importmap">{json.dumps({"imports": addresses})}</script>'
    )
    scripts = (
        data_block("settings", settings)
        + data_block("content", content)
        + '\n<script type="module">import "study/participant";</script>'
    )
    return _filled("participant", title, head, scripts)


def data_block(name: str, content: Mapping[str, Any]) -> str:
    """JSON in an element that does not run; nothing in it can end the element."""
    text = json.dumps(content, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    return f'<script type="application/json" id="{name}">{text}</script>'


def _filled(name: str, title: str, head: str, scripts: str) -> str:
    page = (FOLDER / f"{name}.html").read_text(encoding="utf-8")
    for mark, text in (("title", html.escape(title)), ("head", head), ("scripts", scripts)):
        page = page.replace("{{ " + mark + " }}", text)
    return page


def _address(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
