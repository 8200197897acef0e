"""test_chaos.py at length: 10,000 kills, 500 stops. ctest label "long"."""
import pytest

from chaos import chaos, result, wrong

OFTEN = ("--stops", "500", "--deletes", "500", "--execs", "500", "--closes", "200")


@pytest.mark.parametrize(
    "flags", [(), ("--kill-daemon", "--boot-ids", "100")], ids=["peers", "peers and daemon"]
)
def test_10000_kills_and_500_stops(flags):
    done = chaos("--kills", "10000", *OFTEN, *flags, timeout=5000)
    counts = result(done)
    assert done.returncode == 0 and wrong(done) == {}, done.stdout
    assert counts["kills"] == 10_000 and counts["stops"] == 500 and counts["closes"] >= 200
