"""What several test modules use that is no fixture."""

from __future__ import annotations

from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from rotationbench.config import project_root


def compose_config(*overrides: str) -> DictConfig:
    """The project's configuration with overrides, as the command line would compose it."""
    with initialize_config_dir(str(project_root() / "conf"), version_base="1.3"):
        return compose("config", overrides=list(overrides))
