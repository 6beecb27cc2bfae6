import numpy as np

from rotationbench.config import project_root
from rotationbench.datasets import open_dataset
from tools.dataset.in_domain import in_domain_samples

ROOT = project_root() / "data" / "rotationbench"


def test_the_in_domain_samples_are_made_again():
    samples = in_domain_samples()
    assert {sample.name for sample in samples} == {path.name for path in ROOT.glob("in-*")}
    for made in samples:
        kept = open_dataset(ROOT / made.name)[0]
        assert (made.sources.xy == kept.sources.xy).all() and (made.targets.xy == kept.targets.xy).all()
        assert made.meta.angle == kept.meta.angle and made.meta.pivot == kept.meta.pivot
        # Interpolation rounds differently on different processors.
        for ours, theirs in ((made.image, kept.image), (made.target, kept.target)):
            assert np.abs(ours.astype(int) - theirs.astype(int)).max() <= 2
        for ours, theirs in ((made.mask, kept.mask), (made.meta.object_mask, kept.meta.object_mask)):
            assert (ours != theirs).mean() < 1e-3
