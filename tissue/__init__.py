"""The library of the pipeline: a flat row of rooms, each named for what it knows.

A room imports only from itself and from the rooms above it:

    common          errors, files, stains, names and splits by group, for every room
    config          params.yaml: its schema, how it is read, and the frame of a command
    phantom         the drawn data set
    slides          whole slides: their scale, their tissue, tiles, cores of an array
    sources         where images come from: folders, archives, servers, the atlas, the phantom
    data            the outputs of `split` and `embed`: tables, arrays, features
    chunks          work in resumable chunks, on this machine or on a Ray cluster
    images          decoding, quality, near-duplicates, groups, division into splits
    backbones       pretrained networks, from Keras or ONNX, and embedding with them
    training        networks, their training, calibration, inference and saving
    metrics         accuracy, calibration and overlap, with intervals that know donors
    audit           careless and honest splits, shortcuts, and the learning curve
    error_analysis  why an image was misclassified, Grad-CAM, labels that look wrong
    figures         all figures and their style
    portable        a model as one ONNX file: written, run, compared with the pipeline
    report          the report page and the model card
    prediction      pictures given to a portable model, and what is answered
    experiments     comparison with other revisions, and grids of experiments
    commands        `python -m tissue predict | page | doctor | compare | push | pull | sweep |
                    cores | donors | verify`
"""

import tissue.common  # noqa: F401 sets the environment before any library is imported
