"""A small host for a daemon of a test: a cgroup with a memory limit of its own.

A cgroup of v2 or v1 can be made by root where the cgroup file system may be written: on a machine,
and in a privileged container. Elsewhere the daemon gets the same bytes as max_total_bytes. Then the
test shows the same refusals, and not that the kernel's OOM killer has nothing to do. `what` says
which of the two it is, and the test prints it.
"""
import os
import pathlib
import tempfile


def mount_points():
    """(version, which cgroup is shown, mount point) of each mounted memory controller."""
    for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines():
        fields = line.split()
        kind, options = fields[fields.index("-") + 1], fields[-1].split(",")
        if kind == "cgroup2":
            yield 2, fields[3], pathlib.Path(fields[4])
        elif kind == "cgroup" and "memory" in options:
            yield 1, fields[3], pathlib.Path(fields[4])


class MemoryBox:
    def __init__(self, limit_bytes):
        self.limit_bytes = limit_bytes
        self.directory = None
        problems = []
        for version, _, point in mount_points():
            try:
                self.make(version, point)
            except OSError as error:
                problems.append(f"{point}: {error}")
                self.discard()
        if self.directory:
            self.what = f"a cgroup of v{self.version}, {self.directory}"
            self.named = str(self.directory)
            self.command = (
                "sh",
                "-c",
                f'echo $$ > {self.directory}/cgroup.procs && exec "$@"',
                "sh",
            )
            self.flags = ()
        else:
            self.what = f"max_total_bytes, for no cgroup can be made ({'; '.join(problems)})"
            self.named = "max_total_bytes"
            self.command = ()
            self.flags = ("--max-total-bytes", str(limit_bytes))
        print(f"the daemon's memory is limited by {self.what}")

    def make(self, version, point):
        if self.directory:
            return
        if version == 2:
            if "memory" not in (point / "cgroup.controllers").read_text().split():
                raise OSError("it has no memory controller")
            (point / "cgroup.subtree_control").write_text("+memory")
        self.version = version
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="arenad-test-", dir=point))
        if version == 2:
            (self.directory / "memory.max").write_text(str(self.limit_bytes))
        else:
            (self.directory / "memory.limit_in_bytes").write_text(str(self.limit_bytes))

    def oom_kills(self):
        """How often the kernel has killed in it; 0 where there is no cgroup."""
        if not self.directory:
            return 0
        name = "memory.events" if self.version == 2 else "memory.oom_control"
        for line in (self.directory / name).read_text().splitlines():
            key, count = line.split()
            if key == "oom_kill":
                return int(count)
        raise AssertionError(f"no oom_kill in {name}")

    def discard(self):
        if self.directory:
            os.rmdir(self.directory)
            self.directory = None
