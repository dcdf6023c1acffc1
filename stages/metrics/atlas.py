"""How the twelve classes of the Human Protein Atlas join into tissues and organ systems."""

from collections.abc import Sequence

TISSUES = {
    "colon": "colon",
    "endometrium_1": "endometrium",
    "endometrium_2": "endometrium",
    "kidney": "kidney",
    "liver": "liver",
    "lung": "lung",
    "lymph_node": "lymph_node",
    "pancreas": "pancreas",
    "skin_1": "skin",
    "skin_2": "skin",
    "small_intestine": "small_intestine",
    "spleen": "spleen",
}
# https://www.proteinatlas.org/humanproteome/tissue
SYSTEMS = {
    **TISSUES,
    "endometrium_1": "female tissues",
    "endometrium_2": "female tissues",
    "lymph_node": "bone marrow and lymphoid tissues",
    "spleen": "bone marrow and lymphoid tissues",
    "colon": "gastrointestinal tract",
    "small_intestine": "gastrointestinal tract",
}


def is_atlas(classes: Sequence[str]) -> bool:
    """Whether all classes are named as in the atlas, and some of them can be joined."""
    names = set(classes)
    return names <= set(TISSUES) and len({SYSTEMS[name] for name in names}) < len(names)
