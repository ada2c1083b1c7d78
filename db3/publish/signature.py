"""Who vouches for a folder: a signature over the digests of all its files, by a key that lies in a file.

The format is that of OpenSSF Model Signing (https://github.com/sigstore/model-transparency), so that its own tools
check it too. Needs the extra `sign`; nothing is sent anywhere.
"""

import hashlib
import re
from importlib import import_module
from json import JSONDecodeError
from pathlib import Path
from typing import Any

from db3.errors import ConfigError, DataError, listed, one_line
from db3.extras import needs

SIGNATURE = "folder.sig"
_CURVES = ("secp256r1", "secp384r1", "secp521r1")  # as OpenSSL calls P-256, P-384 and P-521
_MAKE = "openssl ecparam -name prime256v1 -genkey -noout -out key.pem; openssl ec -in key.pem -pubout -out key.pub"


def sign_folder(folder: str | Path, key: str | Path) -> str:
    """Sign every file of a folder; the signature is written into it as `folder.sig`.

    Args:
        folder: any; a signature that lies there is replaced.
        key: PEM file of a private key on the curve P-256, P-384 or P-521, without a password.

    Returns:
        What the key is known by: SHA-256 of its public half in PEM.

    Raises:
        ConfigError: the key cannot be used, or the extra `sign` is not installed.
        DataError: the folder cannot be read.
    """
    folder = _existing(folder)
    name = _key_name(Path(key), private=True)
    signing = _module("signing")
    try:
        signer = signing.Config().use_elliptic_key_signer(private_key=Path(key))
        signer.set_hashing_config(_hashing(folder)).sign(folder, folder / SIGNATURE)
    except (OSError, ValueError) as error:
        raise DataError(f"{folder} cannot be signed: {one_line(error)}") from error
    return name


def verify_folder(folder: str | Path, key: str | Path) -> str:
    """Check that the files of a folder are those that were signed, by this key.

    Args:
        folder: with its `folder.sig`.
        key: PEM file of the public key.

    Returns:
        What the key is known by.

    Raises:
        ConfigError: the key cannot be used, or the extra `sign` is not installed.
        DataError: there is no signature, another key made it, or a file is another one, missing or new; names both.
    """
    folder = _existing(folder)
    name = _key_name(Path(key), private=False)
    if not (folder / SIGNATURE).is_file():
        raise DataError(f"{folder} has no {SIGNATURE}: sign it with `db3 sign`")
    verifying = _module("verifying")
    try:
        verifier = verifying.Config().use_elliptic_key_verifier(public_key=Path(key))
        verifier.set_hashing_config(_hashing(folder)).verify(folder, folder / SIGNATURE)
    except Exception as error:  # whatever a damaged signature makes of its parsers
        raise DataError(
            f"the signature of {folder} does not hold for the key {name}: {_reason(error)}; restore what was signed, "
            "or sign it again"
        ) from error
    return name


def _reason(error: Exception) -> str:
    """What does not hold, without the digests of the files, which are told as bytes."""
    if isinstance(error, JSONDecodeError) or not isinstance(error, ValueError):
        return f"{SIGNATURE} is damaged ({type(error).__name__}: {one_line(error, 60)})"
    changed = re.findall(r"Hash mismatch for '([^']*)'", str(error))
    return f"another content in {listed(changed)}" if changed else one_line(error)


def _existing(folder: str | Path) -> Path:
    if not Path(folder).is_dir():
        raise DataError(f"{folder} is no folder; expected one whose files are to be signed")
    return Path(folder).absolute()  # a signature left out by a relative path would count as one more file


def _module(name: str) -> Any:
    with needs("sign", "a signature"):
        return import_module(f"model_signing.{name}")


def _hashing(folder: Path) -> Any:
    """Of every file, but for the signature itself."""
    config = _module("hashing").Config()
    return config.set_ignored_paths(paths=[folder / SIGNATURE], ignore_git_paths=False)


def _key_name(path: Path, *, private: bool) -> str:
    """SHA-256 of the public key in PEM, by which the signature's own file names it too."""
    with needs("sign", "a signature"):
        serialization = import_module("cryptography.hazmat.primitives.serialization")
    try:
        data = path.read_bytes()
        if private:
            public = serialization.load_pem_private_key(data, password=None).public_key()
        else:
            public = serialization.load_pem_public_key(data)
        curve = getattr(getattr(public, "curve", None), "name", type(public).__name__)
        if curve not in _CURVES:
            raise ValueError(f"it is of {curve}, not of {', '.join(_CURVES)}")
    except (OSError, TypeError, ValueError) as error:
        kind = "private" if private else "public"
        raise ConfigError(
            f"{path} holds no {kind} key that can be used ({one_line(error, 90)}); expected PEM without a "
            f"password: {_MAKE}"
        ) from None
    written = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(written).hexdigest()
