"""Text of others in Markdown: it stands there as it is, and is no markup."""

from __future__ import annotations

import html
from collections.abc import Iterable


def plain(text: str) -> str:
    r"""`text` as one line of Markdown in which nothing opens a tag, a comment or another cell.

    >>> plain("a|b<script>")
    'a\\|b&lt;script&gt;'
    """
    return " ".join(html.escape(text, quote=False).replace("|", r"\|").split())


def row(cells: Iterable[str]) -> str:
    """A line of a table; cells are Markdown already.

    >>> row(["cat", "1.0"])
    '| cat | 1.0 |'
    """
    return f"| {' | '.join(cells)} |"
