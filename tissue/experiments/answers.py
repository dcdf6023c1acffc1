"""What a reviewer asks first: is it better, and what changed besides the parameters?"""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from tissue.experiments.lock import changed_stages, foreign_inputs
from tissue.experiments.markdown import code, markdown_table, signed
from tissue.experiments.pairing import Difference, Pairs

VERDICTS = {
    "gain": "**better**",
    "loss": "**worse**",
    "noise": "no difference is shown",
    "same": "every image is as right or wrong as before",
}
NOT_CODE = ("params.yaml", "metrics")  # they have sections of their own


def answer_section(pairs: Mapping[str, Pairs], paired: Mapping[str, Difference]) -> str:
    """Return for each model whether its accuracy on the same images differs beyond chance.

    Args:
        pairs: both prediction tables of each model; empty if there is no paired test.
        paired: the difference of each metric, named as `<model>.test.<metric>`.
    """
    if not pairs:
        return "Not known, since the two versions cannot be compared image by image; see Metrics."
    lines = []
    for model, both in pairs.items():
        before, after = ((one["class"] == one["predicted"]).mean() for one in (both.old, both.new))
        found = paired[f"{model}.test.accuracy"]
        said = f"- {model}: {VERDICTS[found.verdict]}. Accuracy {100 * after:.1f} %"
        said += f", before {100 * before:.1f} %"
        if found.verdict != "same":
            low, high, value = (
                signed(100 * one, 1) for one in (found.low, found.high, found.value)
            )
            p = "p < 0.001" if found.p_value < 0.001 else f"p = {found.p_value:.3f}"
            said += f": {value} points (95 % interval {low} to {high}, {p})"
        lines.append(f"{said}.")
    labels = next(iter(pairs.values())).new["class"]
    most = labels.value_counts(normalize=True).max()
    return "\n".join(lines) + (
        f"\n\nOf the {len(labels)} test images in both versions, always answering the most "
        f"frequent class would get {100 * most:.1f} % right."
    )


def inputs_section(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Return the code and sources that differ between the stages of two versions of dvc.lock."""
    stages = defaultdict[str, list[str]](list)
    for stage, paths in foreign_inputs(changed_stages(old, new)).items():
        for path in paths:
            if not path.startswith(NOT_CODE):
                stages["the command" if path == "cmd" else path].append(stage)
    if not stages:
        return "No code and no source of data differs."
    rows = [[code(path), ", ".join(map(code, names))] for path, names in sorted(stages.items())]
    return markdown_table(["Changed", "Read by the stages"], rows, texts=2)
