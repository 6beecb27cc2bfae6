"""`task=studio`: serve the page until somebody ends it."""

from __future__ import annotations

import logging

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from rotationbench.config import build_evaluator, validated
from rotationbench.errors import ConfigError
from studio.settings import StudioConfig

log = logging.getLogger(__name__)


def run(config: DictConfig) -> int:
    """Serve the studio.

    Args:
        config: the composed configuration; see `StudioConfig`.

    Returns:
        The exit status, 0.

    Raises:
        RotationBenchError: when a setting, a folder or the address cannot be used.
    """
    try:
        from rotationbench.serving import listening, serve, url_of  # noqa: PLC0415 - an extra, which the message names
        from studio.app import create_app  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"task=studio: expected what `pip install 'rotationbench[studio]'` installs: {error}."
        ) from error
    from studio.edits import Workshop  # noqa: PLC0415 - what cannot be wrong goes first
    from studio.forms import offered_methods  # noqa: PLC0415

    settings = validated(StudioConfig, config)
    overrides = list(HydraConfig.get().overrides.task) if HydraConfig.initialized() else []
    suite = build_evaluator(settings.evaluator, metrics=settings.metrics, device=settings.device)
    workshop = Workshop(settings, config, offered_methods(overrides), suite)
    token = settings.studio.needed_token()
    app = create_app(settings, workshop, token)
    bound = listening(settings.studio.host, settings.studio.port, "studio")
    log.info("The studio is at %s%s", url_of(bound), "" if token is None else f"?token={token}")
    log.info("Samples go to %s, edits to %s; Ctrl-C ends it.", settings.studio.samples, settings.results_dir)
    serve(app, bound)
    log.info("The studio is closed.")
    return 0
