"""The servers themselves, where they are installed (benchmarks/servers.py says how)."""

import pytest

from benchmarks.servers import ENVIRONMENTS, SERVERS, differing


@pytest.mark.slow
@pytest.mark.parametrize("preset", [preset for preset in SERVERS if SERVERS[preset].environment != "kserve"])
def test_the_same_weights_behind_a_real_server_decide_alike(preset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    if not (ENVIRONMENTS / SERVERS[preset].environment).is_dir():
        pytest.skip(
            f"{ENVIRONMENTS / SERVERS[preset].environment} is missing: benchmarks/servers.py says how it is made"
        )
    assert differing(preset, 200) == 0
