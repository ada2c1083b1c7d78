"""Settings of a remote teacher's client: its limits, and how its requests prove who they are."""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from db3.errors import ConfigError
from db3.settings.teacher import Link
from db3.teachers.adapters.aws_signature import AwsSigner

__all__ = ["Auth", "Link"]


@dataclass(frozen=True)
class Auth:
    """How a request proves who it is.

    Attributes:
        token: NAME of the environment variable that holds the token; None: no token.
        header: that carries it.
        scheme: word before it, as in `Bearer TOKEN`; empty: none.
        aws_region: for which requests are signed instead (`db3.teachers.adapters.aws_signature`); None: they are not.
        aws_service: that the signature names.
    """

    token: str | None = None
    header: str = "Authorization"
    scheme: str = "Bearer"
    aws_region: str | None = None
    aws_service: str = "sagemaker"

    @classmethod
    def declared(cls, http: Mapping[str, Any]) -> "Auth":
        """As the settings of a remote teacher say; what they leave out is as above."""
        return cls(**{field.name: http[field.name] for field in fields(cls) if field.name in http})

    def told(self) -> dict[str, Any]:
        """As a card tells it, and `declared` reads it again."""
        told = asdict(self)
        return told if self.aws_region else {name: told[name] for name in ("token", "header", "scheme")}

    def signer(self) -> AwsSigner | None:
        """What signs requests; None where nothing does.

        Raises:
            ConfigError: a key is not in the environment, or the extra is not installed.
        """
        return AwsSigner(self.aws_service, self.aws_region) if self.aws_region else None

    def secret(self) -> str | None:
        """The token, read now.

        Raises:
            ConfigError: the variable is not set, or holds what no header can; its value is never shown.
        """
        if self.token is None:
            return None
        value = os.environ.get(self.token, "").strip()
        if not value or not value.isascii() or not value.isprintable():
            raise ConfigError(f"the environment variable {self.token} holds no token; expected printable ASCII: set it")
        return value
