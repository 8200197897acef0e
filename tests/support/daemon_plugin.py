"""pytest plugin: start_daemon, and the logs of daemons in the report of a test that has failed."""
import pytest

from daemon import Daemon

LAST_BYTES = 20_000


@pytest.fixture
def start_daemon():
    """Starts daemons with flags and environment of the test's choice. Each must end with 0."""
    started = []

    def start(*flags, **more):
        started.append(Daemon(*flags, **more))
        return started[-1]

    try:
        yield start
        for daemon in started:
            daemon.stop()
    finally:
        for daemon in started:
            daemon.discard()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport():
    report = (yield).get_result()
    if report.failed:
        for daemon in Daemon.started:
            report.sections.append(
                (f"log of {daemon.program.name} in {daemon.dir}", daemon.log()[-LAST_BYTES:])
            )
