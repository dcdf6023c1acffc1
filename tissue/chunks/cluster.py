"""Chunks of work done by a Ray cluster; the package ray is that of requirements-ray.txt."""

import itertools
import logging
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

from tissue.chunks.files import CODE
from tissue.common.errors import InputError

ATTEMPTS = 8  # of a chunk whose process or machine dies
WAIT = 10.0  # seconds for an answer of the cluster
AHEAD = 3  # chunks handed out for each that is being done, so that no process waits
# What processes on other machines need of the environment of this one.
HANDED_ON = ("KERAS_BACKEND", "TF_CPP_MIN_LOG_LEVEL", "TF_ENABLE_ONEDNN_OPTS", "OMP_NUM_THREADS")


class Told(Protocol):
    """Work that a process does at a stretch: a chunk of a stage, or an experiment."""

    @property
    def about(self) -> str:
        """What it is, in words."""


AnyChunk = TypeVar("AnyChunk", bound=Told)


def run_on_ray(
    task: Callable[[AnyChunk], Any], chunks: Sequence[AnyChunk], *, address: str, threads: int
) -> Iterator[tuple[AnyChunk, Any]]:
    """Do all chunks on a cluster that runs, and give each, with its result, as it is done.

    Ray does a chunk again elsewhere when its process or machine dies; the result of one that fails
    so again and again is an `InputError`. Code goes with the work, so machines need the packages of
    requirements.txt and requirements-ray.txt, and nothing else.

    Args:
        task: what is done with a chunk.
        chunks: all of them.
        address: of the cluster, host:port or ray://host:port; auto for one that this machine is in.
        threads: processor cores that a chunk uses.

    Raises:
        InputError: what a chunk raises, or if there is no cluster.
    """
    ray = _connect(address)
    try:
        cores = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
        if max(cores) < threads:
            raise InputError(  # Ray would wait for such a machine for ever
                f"engine.address: expected a machine with {threads} cores (threads) in the cluster "
                f"{address}. Received: machines with {cores}. Start one, or lower threads."
            )
        do = ray.remote(num_cpus=threads, max_retries=ATTEMPTS, scheduling_strategy="SPREAD")(
            _do
        ).options(name="stages")
        shared = ray.put(task)
        queue = iter(chunks)
        slots = AHEAD * max(1, sum(cores) // threads)
        running = {do.remote(shared, chunk): chunk for chunk in itertools.islice(queue, slots)}
        while running:
            done, _ = ray.wait(list(running))
            for future in done:
                chunk = running.pop(future)
                try:
                    result = ray.get(future)
                except ray.exceptions.RayTaskError as error:
                    raise error.cause if isinstance(error.cause, InputError) else error from None
                except ray.exceptions.RayError as error:
                    result = InputError(
                        f"engine: expected a cluster that does {chunk.about}. Received: {error}, "
                        f"{ATTEMPTS + 1} times. What is done is kept: see to the cluster, and "
                        "run it again."
                    )
                running |= {do.remote(shared, more): more for more in itertools.islice(queue, 1)}
                yield chunk, result
    finally:
        ray.shutdown()


def _do(task: Callable[[Any], Any], chunk: Told) -> Any:
    return task(chunk)


def import_ray() -> Any:
    """Return the package ray.

    Raises:
        InputError: if it is not there.
    """
    try:
        import ray
    except ImportError as error:
        raise InputError(
            f"engine: expected the package ray, which a cluster needs. Received: {error}. "
            "Run `pip install -r requirements-ray.txt`."
        ) from None
    return ray


def _connect(address: str) -> Any:
    ray = import_ray()
    variables = {name: os.environ[name] for name in HANDED_ON if name in os.environ}
    try:
        _check_listening(address)
        ray.init(
            address=address,
            runtime_env={"py_modules": [str(CODE)], "env_vars": variables},
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(
            f"engine.address: expected a Ray cluster. Received: {error} for {address!r}. Start one "
            "with `ray start --head`, and `ray start --address=<host>:6379` on further machines."
        ) from None
    return ray


def _check_listening(address: str) -> None:
    # Ray would try for minutes.
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if port.isdecimal():
        socket.create_connection((host, int(port)), timeout=WAIT).close()
