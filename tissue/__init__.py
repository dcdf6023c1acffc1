"""The library of the pipeline: a flat row of rooms, each named for what it knows.

Imports run in this order only, from a room to rooms above it:

    common          errors, files, stains, names and splits by group that every room may use
    config          params.yaml: its schema, how it is read, and the frame of a command
    phantom         the drawn data set
    sources         where images come from: folders, archives, servers, the atlas, the phantom
    data            what `split` and `embed` wrote: tables, arrays, features
    chunks          work in resumable chunks, on this machine or on a Ray cluster
    images          decoding, quality, near-duplicates, groups, division into splits
    backbones       pretrained networks, of Keras or ONNX, and embedding with them
    training        networks that are trained, their training, calibration, inference and saving
    metrics         accuracy, calibration and overlap, with intervals that know donors
    error_analysis  why an image was misclassified, Grad-CAM, labels that look wrong
    figures         every picture and how it looks
    report          the page and the model card
    prediction      a trained model applied to new pictures
    experiments     runs and revisions compared, grids of parameters run
    commands        `python -m tissue predict | compare | push | sweep | verify`
"""
