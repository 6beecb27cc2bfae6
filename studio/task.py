"""`task=studio`: serve the page until somebody ends it."""

from __future__ import annotations

import logging
import socket

from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import DictConfig

from rotationbench.config import validated
from rotationbench.errors import ConfigError
from studio.settings import StudioConfig, StudioSettings

log = logging.getLogger(__name__)

SECONDS_TO_HANG_UP = 1
BACKLOG = 256


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
        import uvicorn  # noqa: PLC0415 - an extra, which the message below names

        from studio.app import create_app  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"task=studio: expected what `pip install 'rotationbench[studio]'` installs: {error}."
        ) from error
    from studio.edits import Workshop  # noqa: PLC0415 - what cannot be wrong goes first
    from studio.forms import offered_methods  # noqa: PLC0415

    settings = validated(StudioConfig, config)
    overrides = list(HydraConfig.get().overrides.task) if HydraConfig.initialized() else []
    suite = instantiate(settings.evaluator, metrics=settings.metrics, device=settings.device)
    workshop = Workshop(settings, config, offered_methods(overrides), suite)
    token = settings.studio.needed_token()
    app = create_app(settings, workshop, token)
    with listening(settings.studio) as bound:
        host, port = bound.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        log.info("The studio is at http://%s:%d/%s", shown, port, "" if token is None else f"?token={token}")
        log.info("Samples go to %s, edits to %s; Ctrl-C ends it.", settings.studio.samples, settings.results_dir)
        server = uvicorn.Server(
            uvicorn.Config(
                app,
                log_level="warning",
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=SECONDS_TO_HANG_UP,
            )
        )
        try:
            server.run(sockets=[bound])
        except KeyboardInterrupt:
            log.info("The studio is closed.")
    return 0


def listening(studio: StudioSettings) -> socket.socket:
    """A socket that listens where the studio is to be found.

    Raises:
        ConfigError: when the address is no address of this machine, or is taken.
    """
    try:
        found = socket.getaddrinfo(studio.host, studio.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        bound = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ConfigError(f"studio.host: expected an address of this machine, got {studio.host!r}: {error}.") from error
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen(BACKLOG)
    except (OSError, OverflowError) as error:
        bound.close()
        raise ConfigError(
            f"studio.port: expected one that is free at {studio.host}, got {studio.port}: {error}."
        ) from error
    return bound
