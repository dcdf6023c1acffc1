"""The form of what the error analysis hands on: columns, causes and units, in one place."""

NEIGHBOURS = 5
HEAT_SIDE = 28  # of the square Grad-CAM maps, in cells

# In the order in which ties are resolved: a measured defect of the picture says more than a
# distance, which every defect makes larger, too.
CAUSES = (
    "little_tissue",
    "blur",
    "extreme_stain",
    "unlike_training",
    "suspect_label",
    "confusable_pair",
    "donor_unseen",
)
NONE_FOUND = "none_found"

# The measured value that each cause is judged by.
MEASURES = {
    "little_tissue": "tissue_fraction",
    "blur": "blur",
    "extreme_stain": "stain",
    "unlike_training": "distance",
    "suspect_label": "label_suspicion",
    "confusable_pair": "confusable",
    "donor_unseen": "donor_unseen",
}

NEIGHBOUR_COLUMNS = tuple(f"neighbour_{rank}" for rank in range(1, NEIGHBOURS + 1))
# One row a misclassified test image and model, sorted by model, class, id.
ERROR_COLUMNS = (
    "model", "id", "class", "predicted", "confidence", "margin", "cause", "strength", "sentence",
    "confusable", "tissue_fraction", "blur", "stain", "distance", "label_suspicion", "donor_unseen",
    *NEIGHBOUR_COLUMNS, "neighbour_classes", "neighbour_groups",
)  # fmt: skip
# One row an image whose label the rest of the data contradicts, most suspect first.
SUSPECT_COLUMNS = ("id", "split", "class", "suggested", "quality")
