"""Pieces done by processes of this machine."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING, Any

from stages.cli.running import InputError, process_pool

if TYPE_CHECKING:
    from stages.engine.pieces import Piece


def run_locally(
    task: Callable[[Any], None], pieces: "Sequence[Piece]", *, workers: int
) -> "Iterator[Piece]":
    """Do pieces and give each as it is done.

    When the system ends a process, as it does when memory runs out, what is left is done by half
    as many, and at last by one.

    Raises:
        InputError: what a piece raises, or if a piece alone has its process ended.
    """
    if not workers:
        for piece in pieces:
            task(piece)
            yield piece
        return
    left = {piece.name: piece for piece in pieces}
    while left:
        with process_pool(workers) as pool:
            futures = {pool.submit(task, piece): piece for piece in left.values()}
            try:
                for future in as_completed(futures):
                    future.result()
                    yield left.pop(futures[future].name)
            except BrokenProcessPool:
                if workers == 1:
                    raise InputError(
                        f"expected to read {next(iter(left.values())).about}. Received: a process "
                        "that the system ended there. Is memory short, or an image enormous? "
                        "Lower split.max_pixels, or take the image out."
                    ) from None
                workers = max(1, workers // 2)
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
