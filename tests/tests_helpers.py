"""What several test modules use that is no fixture."""

from __future__ import annotations

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from rotationbench.config import project_root


def compose_config(*overrides: str) -> DictConfig:
    """The project's configuration with overrides, as the command line would compose it."""
    with initialize_config_dir(str(project_root() / "conf"), version_base="1.3"):
        return compose("config", overrides=list(overrides))


def relative_error(value: torch.Tensor, expected: np.ndarray) -> float:
    """Relative L2 error of a tensor against a recording."""
    return float(np.linalg.norm(value.numpy() - expected) / np.linalg.norm(expected))
