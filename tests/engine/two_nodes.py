"""Runs a simulation on a Ray cluster of two nodes on this machine; called by tests/engine/test_cluster.py.

A process of its own, because a process can belong to one cluster only. Prints as JSON the digest of the final
weights, and on how many nodes the workers were.
"""

import json
import logging

import ray
from ray.cluster_utils import Cluster

from fedpers.engine import RayCrew
from fedpers.experiments import find
from fedpers.models import digest
from fedpers.report.progress import Reporter
from fedpers.simulation import prepare, simulate
from tests.conftest import small


def main() -> None:
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    settings = small(engine={"workers": None, "ray_address": cluster.address})
    ray.init(cluster.address, log_to_driver=False, logging_level=logging.ERROR)
    nodes: set[str] = set()
    close = RayCrew.close

    def ask_first(self: RayCrew) -> None:
        where = [
            actor.__ray_call__.remote(lambda _: ray.get_runtime_context().get_node_id())
            for actor in self._actors
        ]
        nodes.update(ray.get(where))
        close(self)

    RayCrew.close = ask_first  # type: ignore[method-assign]  # nothing else tells where the workers were
    outcome = simulate(
        prepare(settings, find("user-identifier").build, Reporter(silent=True)), Reporter(silent=True)
    )
    print(json.dumps({"digest": digest(outcome.arrays), "nodes": len(nodes)}))
    ray.shutdown()
    cluster.shutdown()  # type: ignore[no-untyped-call]  # theirs


if __name__ == "__main__":
    main()
