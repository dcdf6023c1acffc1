"""Ask whether the accuracy is what it seems: `python -m stages.audit`.

Reads training and validation features of `data/embed`, and tables and images in `data/split`; it
never reads the test set. Writes `metrics/audit.json`, `plots/audit.csv` and
`plots/learning_curve.csv`.

Cross-validates a classifier of the cached features, repeatedly, and compares
- a careless division, at random by image, with the honest one, by donor;
- the features of whole image and crops with those of the whole image alone;
- the features with shortcuts: share of tissue and blur, colour, and size, where it differs;
and measures accuracy by the number of donors to learn from, with the donors that five more points
would take. On the default: about 15 s on one core.
"""

from pathlib import Path
from typing import Any

import pandas as pd

from tissue.common.files import write_json, write_table
from tissue.config.command import run_command
from tissue.config.loading import load_params
from tissue.config.schema import Params

SCORES = ["what", "accuracy", "low", "high"]
CURVE = ["groups", "accuracy", "low", "high", "fitted"]


def run(params: Params, root: Path = Path()) -> None:
    """Audit what can be audited; where groups are too few, write empty tables and say so.

    Args:
        params: `audit` and `seed` are used.
        root: the folder that contains `data`, `metrics` and `plots`.
    """
    # scikit-learn takes a second to import; wrong parameters are reported before.
    from threadpoolctl import threadpool_limits

    from tissue.audit.cross_validation import describe_scores, fold_count, score_all, score_table
    from tissue.audit.examples import read_examples
    from tissue.audit.learning_curve import describe_curve, measure_curve

    settings, how = params.audit, {"repeats": params.audit.repeats, "seed": params.seed}
    examples = read_examples(
        root / "data/split", root / "data/embed", max_images=settings.max_images, seed=params.seed
    )
    measured = examples.counts()
    measured |= {"folds": fold_count(examples.groups), "repeats": settings.repeats}
    scores, points = pd.DataFrame(columns=SCORES), pd.DataFrame(columns=CURVE)
    # One thread: in many short sums, several threads mostly wait for each other.
    with threadpool_limits(1):
        if examples.can_be_divided:
            scored = score_all(examples, **how)
            measured |= describe_scores(scored, examples.groups)
            scores = score_table(measured["accuracy"], chance=measured["chance"])
            if (curve := measure_curve(examples, **how)) is not None:
                points, measured["learning_curve"] = describe_curve(curve, seed=params.seed)
    write_table(scores[SCORES], root / "plots/audit.csv")
    write_table(points[CURVE], root / "plots/learning_curve.csv")
    write_json(measured, root / "metrics/audit.json")
    print(f"audit: {_sentence(measured)}")


def _sentence(measured: dict[str, Any]) -> str:
    if "accuracy" not in measured:
        return (
            f"expected two classes with two groups (donors) or more in training and validation. "
            f"Received: {measured['classes']}, so nothing was measured"
        )
    shown = {
        "careless": "divided by image",
        "honest": "divided by group",
        "all_shortcuts": "by colour, tissue and blur alone",
    }
    found = ", ".join(
        f"{measured['accuracy'][name]['accuracy']:.1%} {how}" for name, how in shown.items()
    )
    curve = "" if "learning_curve" in measured else "; too few groups for a learning curve"
    return (
        f"cross-validated accuracy on {measured['images']} images of {measured['groups']} groups: "
        f"{found}{curve}"
    )


def main() -> None:
    """Run the stage with the parameters of params.yaml."""
    run(load_params())


if __name__ == "__main__":
    run_command(main, name="audit", doc=__doc__)
