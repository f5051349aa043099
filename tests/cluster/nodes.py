"""A Ray cluster on this machine, a head and several nodes: a process of Ray's interpreter that loses nodes on request.

    PYTHON -m tests.cluster.nodes COUNT CPUS    says `at HOST:PORT`, then kills one node of those whose ids begin as
                                                the words of each line it reads; ends with its input

Killing a node is `kill -9` of its raylet and of every worker it had.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent.parent


class Nodes:
    """The cluster as a test sees it."""

    def __init__(self, process: subprocess.Popen, address: str):
        self.process, self.address = process, address

    def kill_one_of(self, node_ids: Iterable[str]) -> str:
        """Kill -9 one of the nodes whose ids begin so, which may not be the head; its id, once it is dead."""
        self.process.stdin.write(" ".join(node_ids) + "\n")
        self.process.stdin.flush()
        said = next((line for line in self.process.stdout if line.startswith(("killed ", "none"))), "")
        assert said.startswith("killed "), said
        return said.split()[1]


@contextmanager
def cluster(interpreter: str, count: int, cpus: int) -> Iterator[Nodes]:
    """A cluster of `count` nodes with `cpus` CPUs each, and a head with one, for the length of the block."""
    process = subprocess.Popen(
        [interpreter, "-m", "tests.cluster.nodes", str(count), str(cpus)],
        cwd=PROJECT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        said = next((line for line in process.stdout if line.startswith("at ")), "")
        assert said, "the cluster did not start"
        yield Nodes(process, said.removeprefix("at ").strip())
    finally:
        process.stdin.close()
        process.wait(timeout=120)


def serve(count: int, cpus: int) -> None:
    """The cluster itself."""
    import psutil
    from ray.cluster_utils import Cluster

    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    workers = [nodes.add_node(num_cpus=cpus) for _ in range(count)]
    nodes.wait_for_nodes()
    print(f"at {nodes.address}", flush=True)
    for line in sys.stdin:
        victim = next((node for node in workers if node.node_id.startswith(tuple(line.split()))), None)
        if victim is None:
            print(f"none of {line.strip()} is a worker node", flush=True)
            continue
        raylet = psutil.Process(next(iter(victim.all_processes["raylet"])).process.pid)
        for each in [raylet, *raylet.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):  # the raylet's own end takes its children along
                each.kill()
        nodes.remove_node(victim, allow_graceful=False)
        print(f"killed {victim.node_id}", flush=True)
    nodes.shutdown()


if __name__ == "__main__":
    serve(int(sys.argv[1]), int(sys.argv[2]))
