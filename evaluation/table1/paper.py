"""Table I as printed in the RotationDrag paper (arXiv 2401.06442): percent of pairs with a corner error up to 3 px."""

PRINTED: dict[str, dict[str, float]] = {
    "sift": {"scaling": 99.6, "rotation": 100.0, "perspective": 99.6, "translation": 99.298},
    "superpoint": {"scaling": 97.2, "rotation": 26.0, "perspective": 98.9, "translation": 98.2},
    "dift": {"scaling": 95.4, "rotation": 37.5, "perspective": 98.6, "translation": 97.9},
}
