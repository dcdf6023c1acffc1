"""Chunks of work on a Ray cluster; requirements/ray.txt installs the package ray."""

import itertools
import logging
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tissue.chunks.files import CODE
from tissue.common.errors import InputError
from tissue.common.runtime import AVX2_ONLY

ATTEMPTS = 8  # repetitions of a chunk whose process or machine dies
WAIT = 10.0  # seconds for an answer of the cluster
AHEAD = 3  # chunks submitted for each that is running, so that no process waits
# Environment variables that processes on other machines need.
FORWARDED = ("KERAS_BACKEND", "TF_CPP_MIN_LOG_LEVEL", "OMP_NUM_THREADS", *AVX2_ONLY)


def run_on_ray(
    task: Callable[[Any], Any], chunks: Sequence[Any], *, address: str, threads: int
) -> Iterator[tuple[Any, Any]]:
    """Run all chunks on a cluster, and yield each with its result as soon as it is done.

    When a process or machine dies, Ray repeats the chunk elsewhere; the result of a chunk that
    fails again and again is an `InputError`. Our code is sent along, so machines need the packages
    of requirements.txt and requirements/ray.txt only.

    Args:
        task: called with each chunk.
        chunks: of a stage, or experiments; `about` describes each in words.
        address: of the cluster, host:port or ray://host:port; auto for the one of this machine.
        threads: processor cores that a chunk uses.

    Raises:
        InputError: what a chunk raises, or if there is no cluster.
    """
    ray = _connect(address)
    try:
        cores = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
        if max(cores) < threads:
            raise InputError(  # Ray would wait for such a machine forever
                f"engine.address: expected a machine with {threads} cores (threads) in the cluster "
                f"{address}. Received: machines with {cores}. Start one, or lower threads."
            )
        options = ray.remote(num_cpus=threads, max_retries=ATTEMPTS, scheduling_strategy="SPREAD")
        do, shared, queue = options(_do), ray.put(task), iter(chunks)
        slots = AHEAD * (sum(cores) // threads)
        running = {do.remote(shared, chunk): chunk for chunk in itertools.islice(queue, slots)}
        while running:
            for future in ray.wait(list(running))[0]:
                chunk = running.pop(future)
                result = _result(ray, future, chunk)
                running |= {do.remote(shared, more): more for more in itertools.islice(queue, 1)}
                yield chunk, result
    finally:
        ray.shutdown()


def _do(task: Callable[[Any], Any], chunk: Any) -> Any:
    return task(chunk)


def _result(ray: Any, future: Any, chunk: Any) -> Any:
    try:
        return ray.get(future)
    except ray.exceptions.RayTaskError as error:
        raise error.cause if isinstance(error.cause, InputError) else error from None
    except ray.exceptions.RayError as error:
        return InputError(
            f"engine: expected a cluster that does {chunk.about}. Received: {error}, "
            f"{ATTEMPTS + 1} times. Repair the cluster and run it again; what is done is kept."
        )


def import_ray() -> Any:
    """Return the package ray.

    Raises:
        InputError: if it is not installed.
    """
    try:
        import ray
    except ImportError as error:
        raise InputError(
            f"engine: expected the package ray, which a cluster needs. Received: {error}. "
            "Run `pip install -r requirements/ray.txt`."
        ) from None
    return ray


def _connect(address: str) -> Any:
    ray = import_ray()
    variables = {name: os.environ[name] for name in FORWARDED if name in os.environ}
    host, _, port = address.rpartition("://")[2].rpartition(":")
    try:
        if port.isdecimal():  # Ray itself would try for minutes
            socket.create_connection((host, int(port)), timeout=WAIT).close()
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
