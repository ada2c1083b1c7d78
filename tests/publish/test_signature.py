"""A signed folder: the signature holds, and no longer after one flipped byte; the key is named either way."""

from pathlib import Path

import pytest

from db3.errors import ConfigError, DataError
from db3.publish.command import sign_main
from db3.publish.signature import SIGNATURE, sign_folder, verify_folder

pytest.importorskip("model_signing", reason="needs the extra sign")


def keys(folder: Path, name: str) -> tuple[Path, Path]:
    """A new pair: files of the private and the public key."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    folder.mkdir(exist_ok=True)
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    key = ec.generate_private_key(ec.SECP256R1())
    form = serialization.PrivateFormat.PKCS8
    private.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    public.write_bytes(key.public_key().public_bytes(serialization.Encoding.PEM, spki))
    return private, public


@pytest.fixture
def signed(tmp_path: Path) -> tuple[Path, Path, str]:
    """A folder, the public key, and what the key is known by."""
    folder = tmp_path / "set"
    (folder / "inner").mkdir(parents=True)
    (folder / "manifest.json").write_text('{"digest": "0123"}')
    (folder / "inner" / ".gitignore").write_text("*")
    private, public = keys(tmp_path / "keys", "mine")
    return folder, public, sign_folder(folder, private)


def test_it_holds_and_names_the_key(signed: tuple[Path, Path, str], capsys: pytest.CaptureFixture[str]) -> None:
    folder, public, name = signed
    assert verify_folder(folder, public) == name
    assert sign_main([str(folder), "--key", str(public), "--check"]) == 0
    assert capsys.readouterr().out == f"holds: {folder}, by the key {name}\n"


@pytest.mark.parametrize("file", ["manifest.json", "inner/.gitignore"])
def test_one_flipped_byte_ends_it(
    signed: tuple[Path, Path, str], file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, public, name = signed
    content = bytearray((folder / file).read_bytes())
    content[0] ^= 1
    (folder / file).write_bytes(content)
    with pytest.raises(DataError, match=rf"does not hold for the key {name}: .*{file}"):
        verify_folder(folder, public)
    assert sign_main([str(folder), "--key", str(public), "--check"]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_new_and_missing_files_end_it_too(signed: tuple[Path, Path, str]) -> None:
    folder, public, _ = signed
    (folder / "new").touch()
    with pytest.raises(DataError, match="new"):
        verify_folder(folder, public)
    (folder / "new").unlink()
    (folder / "manifest.json").unlink()
    with pytest.raises(DataError, match=r"manifest\.json"):
        verify_folder(folder, public)


def test_another_key_and_another_signature_are_refused(signed: tuple[Path, Path, str], tmp_path: Path) -> None:
    folder, public, _ = signed
    _, other = keys(tmp_path / "keys", "other")
    with pytest.raises(DataError, match="does not hold for the key"):
        verify_folder(folder, other)
    content = bytearray((folder / SIGNATURE).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / SIGNATURE).write_bytes(content)
    with pytest.raises(DataError, match="does not hold for the key"):
        verify_folder(folder, public)
    (folder / SIGNATURE).unlink()
    with pytest.raises(DataError, match=r"has no folder\.sig"):
        verify_folder(folder, public)


def test_a_key_that_is_none_is_one_line(signed: tuple[Path, Path, str]) -> None:
    folder, public, _ = signed
    with pytest.raises(ConfigError, match=r"holds no private key .* openssl ecparam"):
        sign_folder(folder, public)
    with pytest.raises(DataError, match="is no folder"):
        sign_folder(folder / "nowhere", public)


@pytest.mark.parametrize("kind", ["rsa", "ed25519", "secp256k1"])
def test_a_key_of_another_kind_is_one_line(signed: tuple[Path, Path, str], tmp_path: Path, kind: str) -> None:
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    made = {
        "rsa": lambda: rsa.generate_private_key(65537, 2048),
        "ed25519": ed25519.Ed25519PrivateKey.generate,
        "secp256k1": lambda: ec.generate_private_key(ec.SECP256K1()),
    }[kind]()
    pem = made.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
    (tmp_path / "key.pem").write_bytes(pem)
    with pytest.raises(
        ConfigError, match=rf"(?i)holds no private key .*{kind}.*, not of secp256r1, .* openssl ecparam"
    ):
        sign_folder(signed[0], tmp_path / "key.pem")


def test_what_does_not_hold_is_told_in_words(signed: tuple[Path, Path, str]) -> None:
    folder, public, _ = signed
    (folder / "manifest.json").write_text("{}")
    with pytest.raises(DataError, match=r": another content in manifest\.json; restore what was signed"):
        verify_folder(folder, public)
    (folder / SIGNATURE).write_text("{}")
    with pytest.raises(DataError, match=r": folder\.sig is damaged"):
        verify_folder(folder, public)


@pytest.mark.parametrize("name", ["set", "./set/", "."])
def test_a_folder_named_from_here_holds_too(
    signed: tuple[Path, Path, str], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, public, key = signed
    monkeypatch.chdir(folder if name == "." else folder.parent)
    private = public.with_suffix(".pem")
    assert sign_folder(name, private) == verify_folder(name, public) == key
    assert verify_folder(folder, public) == key
