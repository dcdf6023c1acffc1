"""The measured overlap of training and test, each number beside that of random splits."""

from dataclasses import dataclass
from typing import Any

from stages.page.numbers import p_value

SIGNIFICANT = 0.05
SPACES = {"features": "pretrained features", "pixels": "raw pixels"}


@dataclass(frozen=True)
class Mixing:
    """How mixed test images are with training images in one space; 1 is as chance would do."""

    space: str
    real: float
    random: float
    low: float
    high: float
    p: float

    @property
    def apart(self) -> bool:
        """Whether the test images lie further from training than random splits put them."""
        return self.p < SIGNIFICANT

    @property
    def closer(self) -> bool:
        """Whether they lie closer, as copies on both sides do."""
        return self.real > self.high

    def described(self, neighbours: int) -> str:
        """The measurement in words, to follow a verdict."""
        return (
            f"counted over the {neighbours} nearest neighbours of each test image, mixing with "
            f"training is {self.real:.2f} of what chance gives, with random splits {self.low:.2f} "
            f"to {self.high:.2f} ({p_value(self.p)})"
        )


def mixings(tsne: dict[str, Any]) -> list[Mixing]:
    """What metrics/tsne.json measured, the deep features first."""
    return [
        Mixing(
            space=name,
            real=tsne["mixing"][key]["real"],
            random=tsne["mixing"][key]["random_mean"],
            low=tsne["mixing"][key]["random_low"],
            high=tsne["mixing"][key]["random_high"],
            p=tsne["mixing"][key]["p_value"],
        )
        for key, name in SPACES.items()
        if key in tsne["mixing"]
    ]


def overlap_verdict(tsne: dict[str, Any], shared_groups: int) -> str:
    """Whether the test images differ from training by more than a random split, in a sentence."""
    deep = mixings(tsne)[0]
    if deep.apart:
        verdict = "The test images differ from training by more than a random split"
    elif deep.closer:
        verdict = "The test images lie closer to training than a random split, as copies would"
    else:
        verdict = "The test images differ from training by no more than a random split"
    groups = {0: "no group of images is", 1: "one group of images is"}.get(
        shared_groups, f"{shared_groups:,} groups of images are"
    )
    return f"{verdict}: {deep.described(tsne['neighbours'])}; {groups} shared between the parts."
