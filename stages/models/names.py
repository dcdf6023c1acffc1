"""The models of the pipeline, in the order in which they are shown."""

MODELS = ("scratch", "pretrained")
