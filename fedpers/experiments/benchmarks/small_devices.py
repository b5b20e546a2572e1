"""The engine's benchmark with 20 samples a client, which is what real people have."""

from __future__ import annotations

from fedpers.experiments.benchmarks.engine import main
from fedpers.experiments.benchmarks.workload import Workload

if __name__ == "__main__":
    main("small devices", Workload(samples=20))
