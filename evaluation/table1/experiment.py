"""One feature on all pairs: matched, estimated, measured, and kept on disk picture by picture."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
from tqdm import tqdm

from evaluation.table1.estimation import Estimate, corner_error, estimate_homography
from evaluation.table1.features.base import Extractor, Feature, LocalFeatures, Runtime
from evaluation.table1.matching import mutual_nearest
from evaluation.table1.pairs import Pair, Protocol, make_pairs, reference_crop
from evaluation.table1.pictures import Picture
from evaluation.table1.shards import Origin, digest_of, pairs_fingerprint, read_shard, shard_path, write_shard
from evaluation.table1.warps import Crop
from rotationbench.engine import Engine
from rotationbench.engine.host import cores
from rotationbench.engine.local import Local
from rotationbench.errors import EngineError


@dataclass(frozen=True, eq=False)
class Outcome:
    """What came of one pair: matches int64 `(K, 2)` as indices of keypoints, the estimate, the corner error in px."""

    reference: LocalFeatures
    warped: LocalFeatures
    matches: np.ndarray
    estimate: Estimate
    corner_error: float | None

    @property
    def matched_points(self) -> tuple[np.ndarray, np.ndarray]:
        """Matched keypoints of the reference and of the warped picture, each `(K, 2)` in pixels."""
        return self.reference.keypoints[self.matches[:, 0]], self.warped.keypoints[self.matches[:, 1]]


def evaluate_pair(feature: Feature, extractor: Extractor, reference: LocalFeatures, pair: Pair, crop: Crop) -> Outcome:
    """Describe the warped crop of a pair, match it with the reference, and estimate the homography."""
    warped = extractor.warped(pair.image)
    matches = mutual_nearest(
        reference.descriptors, warped.descriptors[0], metric=feature.metric, visible=reference.visible
    )
    indices = matches.cpu().numpy()
    estimate = estimate_homography(
        reference.keypoints[indices[:, 0]], warped.keypoints[indices[:, 1]], feature.estimator
    )
    error = corner_error(estimate.homography, pair.warp.homography, crop.corners)
    return Outcome(reference, warped, indices, estimate, error)


def evaluate_picture(
    name: str, feature: Feature, extractor: Extractor, picture: Picture, protocol: Protocol
) -> Iterator[dict[str, Any]]:
    """A row of `shards.SCHEMA` for each pair of a picture; the reference is described once."""
    image = picture.read()
    crop = reference_crop(image, protocol)
    reference = extractor.reference(crop.cut(image))
    for pair in make_pairs(image, crop, protocol, picture=picture.name):
        outcome = evaluate_pair(feature, extractor, reference, pair, crop)
        homography = outcome.estimate.homography
        yield {
            "feature": name,
            "picture": picture.name,
            "kind": pair.warp.kind,
            "repetition": pair.repetition,
            "amount": pair.warp.amount,
            "direction": pair.warp.direction,
            "height": crop.height,
            "width": crop.width,
            "keypoints_reference": len(reference.keypoints),
            "keypoints_warped": len(outcome.warped.keypoints),
            "matches": len(outcome.matches),
            "inliers": int(outcome.estimate.inliers.sum()),
            "corner_error": outcome.corner_error,
            "homography": None if homography is None else homography.ravel().tolist(),
            "homography_true": pair.warp.homography.ravel().tolist(),
        }


@dataclass(frozen=True)
class FeaturePlan:
    """A feature to be evaluated: its name, settings, what it may need, the protocol, and the folder for its results."""

    name: str
    feature: Feature
    runtime: Runtime
    protocol: Protocol
    folder: Path

    def shard(self, picture: Picture) -> Path:
        """Where the rows of a picture are kept."""
        return shard_path(self.folder, picture)

    def origin(self, picture: Picture, extractor: Extractor) -> Origin:
        """What decides the rows of a picture."""
        pairs = pairs_fingerprint(self.protocol, picture)
        settings = {
            "feature": self.name,
            "version": self.feature.version,
            "class": type(self.feature).__qualname__,
            "settings": asdict(self.feature),  # type: ignore[call-overload]
            "identity": extractor.identity,
            "pairs": pairs,
        }
        return Origin(digest_of(settings), pairs, extractor.note)


def run_feature(
    plan: FeaturePlan,
    extractor: Extractor,
    pictures: list[Picture],
    *,
    workers: int | None,
    overwrite: bool,
    engine: Engine | None = None,
) -> None:
    """Make the rows of every picture that has none yet, or none that are still valid.

    Args:
        plan: what to evaluate.
        extractor: the loaded feature.
        pictures: the reference pictures.
        workers: how many; None means what suits the engine. On this machine, features that hold a model on a device use
            this process alone.
        overwrite: make all rows again.
        engine: where the workers are; None means on this machine.

    Raises:
        EngineError: when a picture ends each process that is at it.
    """
    origins = {picture: plan.origin(picture, extractor) for picture in pictures}
    open_pictures = [
        picture for picture in pictures if overwrite or not _is_made(plan.shard(picture), origins[picture])
    ]
    if engine is None or not engine.elsewhere:
        engine = Local()
        workers = 1 if not plan.feature.parallel else min(workers or cores(), max(1, len(open_pictures)))
    with tqdm(total=len(pictures), initial=len(pictures) - len(open_pictures), desc=plan.name, unit="picture") as bar:
        if not open_pictures:
            return
        setup = partial(PictureWorker, plan, extractor if workers == 1 and not engine.elsewhere else None)
        with engine.crew(setup, workers, plan.runtime.device) as crew:
            items = ((picture, picture.path.read_bytes() if crew.remote else b"") for picture in open_pictures)
            for outcome in crew.work(items, len(open_pictures)):
                picture, _ = outcome.item
                if outcome.death is not None:
                    raise EngineError(f"{picture.path}: each process that was at it ended: {outcome.death}.")
                write_shard(plan.shard(picture), outcome.result, origins[picture])
                bar.update()


class PictureWorker:
    """Makes the rows of pictures.

    Args:
        plan: what to evaluate.
        extractor: the loaded feature; None where it is loaded by the worker.
        remote: whether pictures are handed over, instead of being read where they are.
    """

    def __init__(self, plan: FeaturePlan, extractor: Extractor | None, *, remote: bool) -> None:
        self._plan, self._extractor, self._remote = plan, extractor, remote

    def prepare(self) -> dict[str, Any]:
        """Load the feature; see `Worker`."""
        extractor = self._extractor or self._plan.feature.load(self._plan.runtime)
        self._extractor = extractor
        return {"identity": extractor.identity, "note": extractor.note}

    def __call__(self, item: tuple[Picture, bytes]) -> list[dict[str, Any]]:
        """The rows of a picture."""
        picture, content = item
        plan, extractor = self._plan, cast(Extractor, self._extractor)
        if not self._remote:
            return list(evaluate_picture(plan.name, plan.feature, extractor, picture, plan.protocol))
        with tempfile.NamedTemporaryFile(suffix=picture.path.suffix) as copy:
            copy.write(content)
            copy.flush()
            here = replace(picture, path=Path(copy.name))
            return list(evaluate_picture(plan.name, plan.feature, extractor, here, plan.protocol))


def _is_made(shard: Path, origin: Origin) -> bool:
    read = read_shard(shard)
    return read is not None and read[1].rows == origin.rows
