"""Requests signed for AWS (Signature Version 4), as SageMaker's runtime wants them; the arithmetic is botocore's.

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

import os
from collections.abc import Mapping

from db3.errors import ConfigError
from db3.extras import needs

KEY, SECRET, SESSION = "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"


class AwsSigner:
    """Signs requests with the keys of the environment, which are read once and never shown.

    Args:
        service: as AWS names it in a signature, `sagemaker`.
        region: `eu-central-1`.

    Attributes:
        secrets: what must stand in no message.

    Raises:
        ConfigError: a variable is not set, or the extra `aws` is not installed.
    """

    def __init__(self, service: str, region: str) -> None:
        with needs("aws", "teacher.http.aws_region"):
            from botocore.auth import SigV4Auth  # noqa: PLC0415  (an extra)
            from botocore.awsrequest import AWSRequest  # noqa: PLC0415
            from botocore.credentials import Credentials  # noqa: PLC0415
        key, secret, session = (os.environ.get(name, "").strip() for name in (KEY, SECRET, SESSION))
        for name, value in ((KEY, key), (SECRET, secret)):
            if not value or not value.isascii() or not value.isprintable():
                raise ConfigError(
                    f"the environment variable {name} holds no key, which teacher.http.aws_region needs: set it"
                )
        self.secrets = tuple(value for value in (secret, session, key) if value)
        self._auth = SigV4Auth(Credentials(key, secret, session or None), service, region)
        self._request = AWSRequest

    def __repr__(self) -> str:
        return "AwsSigner(…)"

    def sign(self, method: str, url: str, headers: Mapping[str, str], content: bytes | None) -> dict[str, str]:
        """These headers and those of the signature, which holds for minutes: every attempt is signed anew.

        Args:
            method: GET or POST.
            url: whole address.
            headers: that are signed too.
            content: body as it is sent, compressed where it is.
        """
        request = self._request(method=method, url=url, headers=dict(headers), data=content or b"")
        self._auth.add_auth(request)
        return dict(request.headers.items())
