"""Where a command writes, checked before it begins what may take hours."""

import os
from collections.abc import Iterable
from pathlib import Path

from stages.cli.running import InputError


def check_file(option: str, target: Path) -> None:
    """Raise an `InputError` if no file can be written where an option says."""
    try:
        if target.is_dir():
            raise InputError(
                f"{option}: expected the name of a file. Received: {target}, which is a folder. "
                "Give the name of a file in it."
            )
        _check_place(option, target, among=target.absolute().parents)
    except PermissionError as error:
        raise _closed(option, target, error) from None


def check_folder(option: str, target: Path) -> None:
    """Raise an `InputError` if no file can be written into the folder that an option names."""
    try:
        if target.exists() and not target.is_dir():
            raise InputError(
                f"{option}: expected the name of a folder. Received: {target}, which is a file. "
                "Give another name."
            )
        place = target.absolute()
        _check_place(option, target, among=(place, *place.parents))
    except PermissionError as error:
        raise _closed(option, target, error) from None


def _check_place(option: str, target: Path, *, among: Iterable[Path]) -> None:
    there = next(path for path in among if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise InputError(
            f"{option}: expected a place to write to. Received: {target}, but {there} is no folder "
            "that can be written to. Name another place."
        )


def _closed(option: str, target: Path, error: PermissionError) -> InputError:
    return InputError(
        f"{option}: expected a place to write to. Received: {target}, but {error.filename} cannot "
        "be looked at. Name another place."
    )
