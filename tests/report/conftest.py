"""Invented results of a whole run and the page made from them, for each test file of the report."""

from pathlib import Path

import pytest

from tests.report_examples import CLASSES, make_results, run_report
from tissue.report.reading import Inputs, read_inputs


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("results")
    make_results(root, CLASSES)
    return root


@pytest.fixture
def inputs(results: Path) -> Inputs:
    return read_inputs(results)


@pytest.fixture(scope="module")
def html(results: Path) -> str:
    return run_report(results).read_text(encoding="utf-8")
