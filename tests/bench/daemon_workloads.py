"""Workloads through the daemon."""
WORKLOADS = ()


def sample(workload, programs, args, samples):
    raise NotImplementedError
