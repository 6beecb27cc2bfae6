"""Sharpness kept: how much of the fine detail of the source picture the edit still has."""

import cv2

from evaluation.metrics.base import Metric, MetricFamily


class SharpnessKept(MetricFamily):
    """Ratio of the variances of the Laplacian, of the edit and of its source."""

    metrics = (Metric("sharpness_kept", "sharpness kept", None, "", "fidelity"),)

    def measure(self, edit):
        """Measure an edit; see `MetricFamily.measure`."""
        before, after = (cv2.Laplacian(image, cv2.CV_64F).var() for image in (edit.sample.image, edit.picture))
        return {"sharpness_kept": float(after / before) if before > 0 else None}
