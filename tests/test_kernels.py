"""Which of torch's kernels tests force, by what a processor offers."""

import pytest

from tests.kernels import NEEDS, why_not


@pytest.mark.parametrize(
    ("capability", "offered"),
    [
        ("DEFAULT", {"default"}),
        ("AVX2", {"default", "avx2"}),
        ("AVX512", {"default", "avx2", "avx512"}),
        ("NEON", {"default"}),
        ("SVE256", {"default"}),
    ],
)
def test_only_kernels_that_the_processor_offers_are_forced(capability: str, offered: set[str]) -> None:
    assert {instructions for instructions in NEEDS if not why_not(instructions, capability)} == offered
