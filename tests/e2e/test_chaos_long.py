"""test_chaos.py at length: 10,000 kills each. ctest label "long"."""
import pytest

from chaos import RESULT, chaos


@pytest.mark.parametrize("flags", [(), ("--kill-daemon",)], ids=["peers", "peers and daemon"])
def test_10000_kills(flags):
    done = chaos("--kills", "10000", *flags, timeout=1500)
    kills, _, *wrong = map(int, RESULT.fullmatch(done.stdout.splitlines()[-1]).groups())
    assert done.returncode == 0 and kills == 10_000 and wrong == [0, 0, 0], done.stdout
