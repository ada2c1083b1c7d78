"""Requests signed for AWS, held against a server that computes the signature from AWS's description alone."""

import builtins
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import db3
from db3.errors import ConfigError, TeacherError
from db3.settings.teacher import Link
from tests.teachers.adapters.test_presets import IMAGES, LABELS, RIGHT, asked
from tests.teachers.stand_ins import SageMaker, aws_signature, standing_in

# The keys that AWS's own examples are signed with.
KEY, SECRET, SESSION = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "c2Vzc2lvbg+of/a+role=="
SIGNED = {"aws_region": "eu-central-1"}
SERVED: dict[str, Any] = {"keys": {KEY: SECRET}, "session": SESSION}


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("botocore", reason="needs the extra aws")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for name, value in (("ACCESS_KEY_ID", KEY), ("SECRET_ACCESS_KEY", SECRET), ("SESSION_TOKEN", SESSION)):
        monkeypatch.setenv(f"AWS_{name}", value)


@pytest.fixture
def server() -> Iterator[Any]:
    with standing_in(SageMaker, "/endpoints/digits/invocations", LABELS, **SERVED) as server:
        yield server


def test_the_server_computes_the_signature_that_aws_publishes() -> None:
    """`get-vanilla` of AWS's test suite for Signature Version 4."""
    headers = {"host": "example.amazonaws.com", "x-amz-date": "20150830T123600Z"}
    told = aws_signature(SECRET, "us-east-1", "service", "GET", "/", headers, b"")
    assert told == "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"


def test_a_signed_endpoint_decides_as_the_network_behind_it(server: Any) -> None:
    assert asked("sagemaker", server.url, http=SIGNED).decide(IMAGES).tolist() == RIGHT
    assert len(server.requests) == 3  # 16 images a request


@pytest.mark.parametrize("session", [SESSION, None])
def test_what_is_sent_is_what_is_signed(server: Any, monkeypatch: pytest.MonkeyPatch, session: str | None) -> None:
    """Compressed, and with the keys of a user, who has no session."""
    if session is None:
        monkeypatch.delenv("AWS_SESSION_TOKEN")
    server.session = session
    teacher = asked("sagemaker", server.url, Link(timeout=20.0, compress=True), http=SIGNED)
    assert teacher.decide(IMAGES[:5]).tolist() == RIGHT[:5]
    assert server.requests[0][:2] == b"\x1f\x8b"


def test_a_limit_that_aws_tells_as_400_is_waited_for_and_signed_anew(server: Any) -> None:
    slow = (400, {"x-amzn-ErrorType": "ThrottlingException:http://internal.amazon.com/"}, {"message": "Rate exceeded"})
    server.faults = [slow, (503, {}, {"Message": "no capacity"})]
    teacher = asked("sagemaker", server.url, Link(timeout=20.0, concurrency=1), http=SIGNED)
    assert teacher.decide(IMAGES[:3]).tolist() == RIGHT[:3]
    assert (len(server.requests), teacher.costs.sent) == (3, 9)


def test_keys_that_do_not_hold_are_told_without_being_shown(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = "another/SECRET+key"
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", wrong)
    teacher = asked("sagemaker", server.url, http=SIGNED)
    with pytest.raises(TeacherError, match=r"403 Forbidden \(.* does not match; you sent \*\*\*\): check") as told:
        teacher.decide(IMAGES[:1])
    assert all(secret not in f"{told.value}{teacher!r}" for secret in (wrong, SESSION, KEY))
    assert "\n" not in str(told.value)


def test_no_key_and_another_region(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    other = asked("sagemaker", server.url, http={"aws_region": "us-east-1"})
    with pytest.raises(TeacherError, match=r"security token included in the request is invalid"):
        other.decide(IMAGES[:1])
    with pytest.raises(ConfigError, match=r"token: requests are signed for aws_region"):
        asked("sagemaker", server.url, http={**SIGNED, "token": "OWN_TOKEN"})
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(ConfigError, match="the environment variable AWS_SECRET_ACCESS_KEY holds no key"):
        asked("sagemaker", server.url, http=SIGNED)
    assert len(server.requests) == 1


def test_keys_stand_in_no_file_and_are_no_part_of_who_it_is(server: Any, tmp_path: Path) -> None:
    signed, plain = asked("sagemaker", server.url, http=SIGNED), asked("sagemaker", server.url)
    assert signed.spec.identity == plain.spec.identity
    signed.open(answers=db3.open_answers(tmp_path / "answers.sqlite")).decide(IMAGES[:4])
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert all(secret.encode() not in written for secret in (KEY, SECRET, SESSION))
    with pytest.raises(TeacherError, match="Missing Authentication Token"):
        plain.decide(IMAGES[:1])


def test_without_botocore_the_extra_is_named(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.startswith("botocore"):
            raise ModuleNotFoundError(name=name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigError, match=r"teacher\.http\.aws_region needs the package botocore.*db3\[aws\]"):
        asked("sagemaker", server.url, http=SIGNED)
