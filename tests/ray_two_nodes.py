"""A study of made-up cells on two Ray nodes of this machine, one of which is killed half-way.

``ray_two_nodes.py OUT``, for test_ray_engine. The tests' folder must be on PYTHONPATH.
"""

import os
import sys
import threading
import time
from pathlib import Path

os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
import ray
from ray.cluster_utils import Cluster
from tiny_study import made_up, tiny_study

from circuitkit.studies import run_study as run_study_module
from circuitkit.studies import shipped_work
from circuitkit.studies.run_study import run_study

SECONDS = 2.0


def slow(shipped, checkpoint):
    """A cell that has its checkpoint's files; which node ran it is noted."""
    assert {"config.json", "model.safetensors"} <= set(checkpoint)
    with Path(os.environ["RAN"]).open("a") as file:
        file.write(f"{os.getppid()}\n")  # the node's own process
    time.sleep(SECONDS)
    return made_up(shipped.work)


def main(out):
    os.environ["RAN"] = f"{out}.ran"
    head = {"num_cpus": 1, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    second = cluster.add_node(num_cpus=1)
    ray.init(cluster.address, log_to_driver=False, logging_level="ERROR")

    def kill_when_both_run():
        """In the middle of a cell of the node that began last, which may be either."""
        log = Path(f"{out}.ran")
        log.touch()
        while len({*log.read_text().split()}) < 2:
            time.sleep(0.02)
        cluster.remove_node(second, allow_graceful=False)

    killer = threading.Thread(target=kill_when_both_run)
    killer.start()
    shipped_work.run_shipped = slow
    run_study_module.MEMORY_BYTES = 2**20
    run_study(tiny_study(Path(out).parent), out, engine="ray", workers=2)
    killer.join()
    ray.shutdown()
    cluster.shutdown()


if __name__ == "__main__":
    main(sys.argv[1])
