"""The baselines of `benchmarks.accuracy`.

Each trains on the training set, and returns for each of its models the predicted label of every
test image, int64 (N,), with the seconds that it took.
"""

import time
from collections.abc import Callable
from typing import NamedTuple

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray
from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from benchmarks import probe
from tissue.data.index import Dataset

BATCH = 32
FOLDS = 4
COSTS = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
LEVELS = 8  # of each of red, green and blue in the histogram

Images = NDArray[np.uint8]
Network = Callable[[], keras.Model]


class Answer(NamedTuple):
    """Predicted labels of the test images, int64 (N,), and the seconds to get there."""

    predicted: NDArray[np.int64]
    seconds: float


def original_scratch(train: Dataset, test: Images, *, epochs: int = 20) -> dict[str, Answer]:
    """Train three convolutions, Flatten and a dense layer, without augmentation.

    Layers and optimiser of TensorFlow's tutorial "Image classification", with twice its epochs.
    """
    start = time.perf_counter()
    model = keras.Sequential([keras.Input(test.shape[1:]), layers.Rescaling(1 / 255)])
    for filters in (16, 32, 64):
        model.add(layers.Conv2D(filters, 3, padding="same", activation="relu"))
        model.add(layers.MaxPooling2D())
    model.add(layers.Flatten())
    model.add(layers.Dense(128, activation="relu"))
    model.add(layers.Dense(_classes(train), activation="softmax"))
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(np.asarray(train.images), train.labels, batch_size=BATCH, epochs=epochs, verbose=0)
    return {"original_scratch": _answer(model, test, start)}


def original_pretrained(
    train: Dataset, test: Images, *, network: Network, epochs: int = 20
) -> dict[str, Answer]:
    """Train a dense layer of 128 and a softmax on a frozen backbone, without augmentation.

    Since nothing varies, the backbone runs once over each image instead of once per epoch.
    """
    start = time.perf_counter()
    backbone = network()
    features = backbone.predict(np.asarray(train.images), batch_size=BATCH, verbose=0)
    dense = layers.Dense(128, activation="relu")
    out = layers.Dense(_classes(train), activation="softmax")
    head = keras.Sequential([keras.Input(features.shape[1:]), dense, out])
    head.compile("adam", "sparse_categorical_crossentropy")
    head.fit(features, train.labels, batch_size=BATCH, epochs=epochs, verbose=0)
    answer = _answer(keras.Sequential([backbone, head]), test, start)
    return {"original_pretrained": answer}


def linear_probe(train: Dataset, test: Images, *, network: Network) -> dict[str, Answer]:
    """Fit a logistic regression to the features of the frozen backbone, as `benchmarks.probe`."""
    start = time.perf_counter()
    backbone = network()
    features = backbone.predict(np.asarray(train.images), batch_size=BATCH, verbose=0)
    classifier = probe.fit(features, train)
    predicted = classifier.predict(backbone.predict(test, batch_size=BATCH, verbose=0))
    return {"linear_probe": Answer(predicted, time.perf_counter() - start)}


def guide(
    train: Dataset,
    test: Images,
    *,
    network: Network,
    seed: int,
    epochs: int = 20,
    fine_tune_epochs: int = 10,
) -> dict[str, Answer]:
    """Follow keras.io's guide "Transfer learning & fine-tuning", with its epochs and rates.

    Random flips and turns, the frozen backbone, dropout, a dense layer; then everything is trained
    at a hundredth of the rate. The backbone runs in inference mode throughout, as in the guide.
    """
    start = time.perf_counter()
    backbone = network()
    images = keras.Input(test.shape[1:])
    x = layers.RandomFlip("horizontal", seed=seed)(images)
    # With one seed for both, an image would be flipped whenever it turns one way.
    x = layers.RandomRotation(0.1, seed=seed + 1)(x)
    x = layers.Dropout(0.2, seed=seed + 2)(backbone(x, training=False))
    model = keras.Model(images, layers.Dense(_classes(train))(x))
    data = {"x": np.asarray(train.images), "y": train.labels, "batch_size": BATCH, "verbose": 0}
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(), loss)
    model.fit(**data, epochs=epochs)
    frozen = _answer(model, test, start)
    for layer in backbone.layers:
        # Not of the backbone itself: it counts as trainable, so Keras would leave the network in it
        # frozen.
        layer.trainable = True
    model.compile(keras.optimizers.Adam(1e-5), loss)
    model.fit(**data, epochs=fine_tune_epochs)
    return {"guide_frozen": frozen, "guide_fine_tuned": _answer(model, test, start)}


def histogram_svm(train: Dataset, test: Images) -> dict[str, Answer]:
    """Classify colour histograms by a support vector machine with a Gaussian kernel.

    The cost is chosen by cross-validation within the training set, by group.
    """
    start = time.perf_counter()
    groups, labels = train.index["group"], train.labels
    folds = StratifiedGroupKFold(FOLDS).split(np.zeros(len(labels)), labels, groups)
    machine = make_pipeline(StandardScaler(), SVC())
    search = GridSearchCV(machine, {"svc__C": COSTS}, cv=list(folds))
    search.fit(histograms(np.asarray(train.images)), labels)
    predicted = search.predict(histograms(test))
    return {"histogram_svm": Answer(predicted, time.perf_counter() - start)}


def histograms(images: Images) -> NDArray[np.float64]:
    """Return the square roots of joint colour histograms, float64 (N, 512), of images uint8."""
    bins = images.astype(np.int64) * LEVELS // 256 @ np.array([LEVELS**2, LEVELS, 1])
    counts = [np.bincount(image.ravel(), minlength=LEVELS**3) for image in bins]
    return np.sqrt(np.stack(counts) / bins[0].size)


def _classes(train: Dataset) -> int:
    return int(train.labels.max()) + 1


def _answer(model: keras.Model, test: Images, start: float) -> Answer:
    predicted = model.predict(np.asarray(test), batch_size=BATCH, verbose=0).argmax(axis=1)
    return Answer(predicted, time.perf_counter() - start)
