"""What `task=studio` is told, and what follows from it."""

from __future__ import annotations

import ipaddress
import secrets
from dataclasses import dataclass, field

from rotationbench.config import BenchmarkConfig
from rotationbench.errors import ConfigError
from rotationbench.settings import check_between

SHORTEST_TOKEN = 8
TOKEN_BYTES = 24


@dataclass
class StudioSettings:
    """`studio`: where the page is served, what it may read and write, and how much of it.

    Args:
        host: the address to listen on; any but the loopback asks for a token.
        port: 0 takes one that is free.
        token: what a browser has to show; None makes one up where one is needed.
        samples: the folder that samples are saved in; it is made when the first one is.
        data: further data set folders, to be read.
        most_upload_bytes: of an uploaded file, or of any other request.
        most_pixels: of an uploaded picture.
        most_pictures: uploaded pictures that are kept at a time; the oldest one goes first.
        most_waiting: edits that wait at a time.

    Raises:
        ConfigError: when a value lies outside its range.
    """

    host: str = "127.0.0.1"
    port: int = 7861
    token: str | None = None
    samples: str = "samples"
    data: list[str] = field(default_factory=list)
    most_upload_bytes: int = 32 * 2**20
    most_pixels: int = 2**24
    most_pictures: int = 64
    most_waiting: int = 32

    def __post_init__(self) -> None:
        check_between(self, 0, 65535, "port", section="studio")
        check_between(self, 1, 2**31, "most_upload_bytes", "most_pixels", section="studio")
        check_between(self, 1, 10_000, "most_pictures", "most_waiting", section="studio")
        if self.token is not None and (len(self.token) < SHORTEST_TOKEN or not self.token.isascii()):
            raise ConfigError(f"studio.token: expected {SHORTEST_TOKEN} or more ASCII characters, got fewer or others.")
        if not self.host or self.host.startswith("-") or any(character.isspace() for character in self.host):
            raise ConfigError(f"studio.host: expected an address or a name, got {self.host!r}.")

    @property
    def is_loopback(self) -> bool:
        """Whether nothing but this machine can reach the page."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def needed_token(self) -> str | None:
        """The token that a browser has to show; None where none is needed."""
        if self.token is not None or self.is_loopback:
            return self.token
        return secrets.token_urlsafe(TOKEN_BYTES)


@dataclass
class StudioConfig(BenchmarkConfig):
    """Everything `task=studio` is told: the settings of a run, whose method is chosen in the page, and `studio`."""

    studio: StudioSettings = field(default_factory=StudioSettings)
