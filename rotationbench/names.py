"""What a name may be: the names of samples, labels and features become folders and files."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Iterable

from rotationbench.errors import ConfigError

LONGEST_NAME_BYTES = 200
"""File systems hold 255 bytes; the rest is left for endings and prefixes."""
UNPRINTABLE = {"Cc": "a control character", "Cs": "a lone surrogate", "Zl": "a line break", "Zp": "a line break"}


def name_fault(name: object, reserved: Collection[str] = ()) -> str | None:
    """What keeps `name` from being the name of a sample, a label or a feature; None when nothing does.

    A name is one plain path component: not empty, without separators, control characters and lone surrogates, with no
    dot in front (which would hide it, or lead elsewhere), and of at most 200 bytes in UTF-8.

    Args:
        name: the name.
        reserved: names that are taken by something else; capitals make no difference.

    >>> name_fault("cat-left")
    >>> name_fault("../cat")
    "expected a name without slashes, got '../cat'"
    """
    if not isinstance(name, str):
        return f"expected text, got {type(name).__name__}"
    unwanted = next((char for char in name if unicodedata.category(char) in UNPRINTABLE), None)
    size = len(name.encode(errors="surrogatepass"))
    faults = {
        "a name that is not empty": not name.strip(),
        "printable characters": unwanted is not None,
        "a name without slashes": "/" in name or "\\" in name,
        "a name without a dot in front": name.startswith("."),
        f"a name of at most {LONGEST_NAME_BYTES} bytes": size > LONGEST_NAME_BYTES,
        "a name that is not taken by something else": folded(name) in {folded(other) for other in reserved},
    }
    wanted = next((wanted for wanted, wrong in faults.items() if wrong), None)
    if wanted is None:
        return None
    what = "" if unwanted is None else f", which holds {UNPRINTABLE[unicodedata.category(unwanted)]}"
    return f"expected {wanted}, got {shortened(name)}{what}"


def checked_name(name: object, key: str, reserved: Collection[str] = ()) -> str:
    """`name`, when it may be one.

    Args:
        name: the name.
        key: the setting that it comes from.
        reserved: names that are taken by something else.

    Raises:
        ConfigError: with what is wrong with the name.
    """
    if fault := name_fault(name, reserved):
        raise ConfigError(f"{key}: {fault}.")
    return str(name)


def folded(name: str) -> str:
    """What two names must not share: on file systems that ignore case and composition they would be one file.

    >>> folded("Cat-Left") == folded("cat-left")
    True
    """
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def name_clashes(names: Iterable[str]) -> list[tuple[str, str]]:
    """Names that would be one file on some file system: each later name, after the first that it clashes with.

    >>> name_clashes(["cat", "dog", "Cat"])
    [('cat', 'Cat')]
    """
    first: dict[str, str] = {}
    clashes = []
    for name in names:
        key = folded(name)
        if key in first:
            clashes.append((first[key], name))
        else:
            first[key] = name
    return clashes


def printable(text: str) -> str:
    """`text` with control characters, line breaks and lone surrogates escaped, so that a message stays one line."""
    return "".join(
        ascii(character)[1:-1] if unicodedata.category(character) in UNPRINTABLE else character for character in text
    )


def shortened(name: str, limit: int = 60) -> str:
    """`name` in quotes and printable, at most `limit` characters of it, for messages."""
    text = printable(repr(name[:limit]))
    return text if len(name) <= limit and len(text) <= limit else f"{text[: limit - 1]}…"
