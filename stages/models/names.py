"""What several modules call by the same name, without what it takes to use it."""

from pathlib import Path

MODELS = ("scratch", "pretrained")  # in the order in which they are shown
EMBEDDED_WEIGHTS = Path("pretrain/mobilenet_v2_035.weights.h5")
