"""A Ray cluster of several nodes on this machine, which can be killed."""

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

# Named after this process, so that others on this machine can have clusters as well
BRIDGE, SUBNET = f"br{os.getpid()}", f"10.{os.getpid() // 256 % 256}.{os.getpid() % 256}"
# For the S3 server of the tests, in which nodes keep what they pass to each other
KEYS = {"AWS_ACCESS_KEY_ID": "tester", "AWS_SECRET_ACCESS_KEY": "for-a-test"}
OPTIONS = [
    "--block", "--num-cpus=2", "--object-store-memory=100000000", "--disable-usage-stats",
]  # fmt: skip


class Node(NamedTuple):
    """A node: the command that runs others in its network, its process, and its log."""

    inside: list[str]
    process: subprocess.Popen[bytes]
    log: Path

    def await_start(self) -> None:
        """Return when the node has started."""
        until = time.monotonic() + 120
        while b"Ray runtime started" not in self.log.read_bytes():
            if self.process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"no Ray node:\n{self.log.read_text()}")
            time.sleep(0.2)

    def kill(self) -> None:
        """End all of its processes at once, like a power failure."""
        if self.process.poll() is not None:
            return
        processes = [*psutil.Process(self.process.pid).children(recursive=True), self.process]
        for process in processes:
            with suppress(psutil.NoSuchProcess):  # which ended with another
                process.kill()
        self.process.wait()


class Cluster(NamedTuple):
    """Nodes, the address of the first, and that of this machine as seen from the nodes."""

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


def _ip(*arguments: str, check: bool = True) -> bool:
    done = subprocess.run(["ip", *arguments], check=check, capture_output=True)
    return done.returncode == 0


def _namespaces_work() -> bool:
    """Whether this process may make and enter networks, as root on Linux may outside a chroot."""
    if os.name != "posix" or os.geteuid() or not shutil.which("ip"):
        return False
    name = f"try{os.getpid()}"
    _ip("netns", "add", name, check=False)
    entered = _ip("netns", "exec", name, "true", check=False)
    _ip("netns", "delete", name, check=False)
    return entered


@contextmanager
def _networks(count: int) -> Iterator[list[str]]:
    """Give the names of network namespaces that reach each other through a bridge."""
    names = [f"n{number}-{os.getpid()}" for number in range(count)]
    with ExitStack() as undo:
        _ip("link", "add", BRIDGE, "type", "bridge")
        undo.callback(_ip, "link", "delete", BRIDGE)
        _ip("address", "add", f"{SUBNET}.254/24", "dev", BRIDGE)
        _ip("link", "set", BRIDGE, "up")
        for number, name in enumerate(names, 1):
            _ip("netns", "add", name)
            undo.callback(_ip, "netns", "delete", name)
            _ip("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name)
            _ip("link", "set", name, "master", BRIDGE, "up")
            _ip("-n", name, "address", "add", f"{SUBNET}.{number}/24", "dev", "eth0")
            _ip("-n", name, "link", "set", "eth0", "up")
            _ip("-n", name, "link", "set", "lo", "up")
        yield names


def _start(inside: list[str], role: list[str], log: Path) -> Node:
    """Start a Ray node; `role` says whether it is the head."""
    ray = str(Path(sys.executable).with_name("ray"))
    variables = environment(
        **KEYS,
        # The test deletes what a killed node leaves there; the sockets of Ray need short paths.
        TMPDIR=str(log.parent),
        RAY_TMPDIR="/tmp",
        # Otherwise workers wait for all other tests on this machine.
        RAY_worker_niceness="0",
    )
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*inside, ray, "start", *role, *OPTIONS],
            cwd=log.parent, env=variables, stdout=output, stderr=output,
        )  # fmt: skip
    return Node(inside, process, log)


@contextmanager
def cluster(count: int, folder: Path) -> Iterator[Cluster]:
    """Start nodes, each in a network of its own where that is possible."""
    with ExitStack() as undo:
        names = undo.enter_context(_networks(count)) if _namespaces_work() else []
        hosts = [f"{SUBNET}.{number + 1}" if names else "127.0.0.1" for number in range(count)]
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        address = f"{hosts[0]}:{port}"
        nodes: list[Node] = []
        for number, host in enumerate(hosts):
            head = ["--head", f"--port={port}", "--include-dashboard=false"]
            role = [f"--node-ip-address={host}", *([f"--address={address}"] if number else head)]
            inside = ["ip", "netns", "exec", names[number]] if names else []
            nodes.append(_start(inside, role, folder / f"node-{number}.log"))
            undo.callback(nodes[-1].kill)
            nodes[-1].await_start()  # at the same time, two would choose the same sockets
        yield Cluster(address, f"{SUBNET}.254" if names else "127.0.0.1", nodes)
