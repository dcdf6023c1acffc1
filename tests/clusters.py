"""A Ray cluster of several nodes on this machine, one of which can be killed."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import psutil

from tests.pipeline import environment

# Of this process, so that others on this machine may do the same.
BRIDGE, SUBNET = f"br{os.getpid()}", f"10.{os.getpid() // 256 % 256}.{os.getpid() % 256}"
# Of the S3 server of the tests, where nodes keep what they pass to each other.
KEYS = {"AWS_ACCESS_KEY_ID": "tester", "AWS_SECRET_ACCESS_KEY": "for-a-test"}
NODE = [
    "--block", "--num-cpus=2", "--object-store-memory=100000000", "--disable-usage-stats",
]  # fmt: skip


class Node(NamedTuple):
    """A node: the command that runs others where it is, and its process."""

    inside: list[str]
    process: subprocess.Popen[bytes]

    def kill(self) -> None:
        """End all of its processes at once, as a machine that loses power."""
        processes = [*psutil.Process(self.process.pid).children(recursive=True), self.process]
        for process in processes:
            with suppress(psutil.NoSuchProcess):  # which ended with another
                process.kill()
        self.process.wait()


class Cluster(NamedTuple):
    """Nodes, the address of the first, and that of this machine, as processes on nodes see them."""

    address: str
    host: str
    nodes: list[Node]

    def run(self, *command: str, cwd: Path) -> subprocess.Popen[str]:
        """Start a command on the first node."""
        return subprocess.Popen(
            [*self.nodes[0].inside, *command],
            cwd=cwd,
            env=environment(**KEYS),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


def namespaces_work() -> bool:
    """Whether this process may make and enter networks, as root on Linux may outside a chroot."""
    if os.name != "posix" or os.geteuid() or not shutil.which("ip"):
        return False
    name = f"try{os.getpid()}"
    subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False)
    entered = subprocess.run(
        ["ip", "netns", "exec", name, "true"], capture_output=True, check=False
    )
    subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)
    return entered.returncode == 0


@contextmanager
def networks(count: int) -> Iterator[list[str]]:
    """Give the names of network namespaces that reach each other through a bridge."""
    names = [f"n{number}-{os.getpid()}" for number in range(count)]

    def ip(*arguments: str) -> None:
        subprocess.run(["ip", *arguments], check=True, capture_output=True)

    with ExitStack() as undo:
        ip("link", "add", BRIDGE, "type", "bridge")
        undo.callback(ip, "link", "delete", BRIDGE)
        ip("address", "add", f"{SUBNET}.254/24", "dev", BRIDGE)
        ip("link", "set", BRIDGE, "up")
        for number, name in enumerate(names, 1):
            ip("netns", "add", name)
            undo.callback(ip, "netns", "delete", name)
            ip("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name)
            ip("link", "set", name, "master", BRIDGE, "up")
            ip("-n", name, "address", "add", f"{SUBNET}.{number}/24", "dev", "eth0")
            ip("-n", name, "link", "set", "eth0", "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield names


@contextmanager
def cluster(count: int, folder: Path) -> Iterator[Cluster]:
    """Start nodes, each in a network of its own where that is possible."""
    ray = str(Path(sys.executable).with_name("ray"))
    with ExitStack() as undo:
        names = undo.enter_context(networks(count)) if namespaces_work() else []
        hosts = [f"{SUBNET}.{number}" for number in range(1, count + 1)]
        hosts = hosts if names else ["127.0.0.1"] * count
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        address = f"{hosts[0]}:{port}"
        nodes: list[Node] = []
        for number, host in enumerate(hosts):
            inside = ["ip", "netns", "exec", names[number]] if names else []
            role = [f"--address={address}"]
            if not number:
                role = ["--head", f"--port={port}", "--include-dashboard=false"]
            log = undo.enter_context((folder / f"node-{number}.log").open("wb"))
            process = subprocess.Popen(
                [*inside, ray, "start", *role, f"--node-ip-address={host}", *NODE],
                cwd=folder,
                env=environment(
                    **KEYS,
                    # What a killed node leaves goes with the test; Ray's sockets need short paths.
                    TMPDIR=str(folder),
                    RAY_TMPDIR="/tmp",
                    # Else they wait for all other tests on this machine.
                    RAY_worker_niceness="0",
                ),
                stdout=log,
                stderr=log,
            )
            nodes.append(Node(inside, process))
            undo.callback(_end, nodes[-1])
            _await_started(folder / f"node-{number}.log", process)
        yield Cluster(address, f"{SUBNET}.254" if names else "127.0.0.1", nodes)


def _await_started(log: Path, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 120
    while b"Ray runtime started" not in log.read_bytes():
        if process.poll() is not None or time.monotonic() > until:
            raise RuntimeError(f"no Ray node:\n{log.read_text()}")
        time.sleep(0.2)


def _end(node: Node) -> None:
    if node.process.poll() is None:
        node.kill()
