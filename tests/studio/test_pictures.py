from __future__ import annotations

import io

import numpy as np
from PIL import Image
from studio_helpers import make_studio, picture, png


def test_what_is_kept_of_uploads_is_what_was_sent(tmp_path):
    with make_studio(tmp_path) as client:
        kept = client.post("/api/pictures", content=png(picture())).json()
        assert (kept["height"], kept["width"]) == (64, 96)
        with Image.open(io.BytesIO(client.get(f"/api/pictures/{kept['picture']}").content)) as image:
            np.testing.assert_array_equal(np.array(image), picture())


def test_a_picture_is_turned_upright_as_its_camera_says(client):
    image = picture()
    exif = Image.Exif()
    exif[0x0112] = 6
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG", exif=exif)
    kept = client.post("/api/pictures", content=stream.getvalue()).json()
    assert (kept["height"], kept["width"]) == (96, 64)
    with Image.open(io.BytesIO(client.get(f"/api/pictures/{kept['picture']}").content)) as upright:
        np.testing.assert_array_equal(np.array(upright), np.rot90(image, -1))
