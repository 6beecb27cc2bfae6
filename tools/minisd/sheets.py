"""Sample sheets: rows of pictures with captions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import wrap

import numpy as np
from PIL import Image, ImageDraw

from rotationbench.files import write_image


def write_sheet(path: Path, pictures: Sequence[np.ndarray], columns: int, captions: Sequence[str] = ()) -> None:
    """Write pictures, uint8 `(H, W, 3)` of one size, in a grid, each with its caption below it when there are any."""
    height, width = pictures[0].shape[:2]
    margin = 34 if captions else 2
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * (width + 4), rows * (height + margin)), "white")
    draw = ImageDraw.Draw(sheet)
    for index, picture in enumerate(pictures):
        x, y = index % columns * (width + 4) + 2, index // columns * (height + margin)
        sheet.paste(Image.fromarray(picture), (x, y))
        if captions:
            lines = wrap(captions[index], max(8, width // 6))[:3]
            draw.multiline_text((x, y + height + 1), "\n".join(lines), fill="black", font_size=9, spacing=1)
    write_image(path, np.asarray(sheet))
