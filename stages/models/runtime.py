"""TensorFlow set up so that the same inputs give the same bits on the same machine.

Beside `stages.errors.gradcam` the one module that names TensorFlow: all others are plain Keras 3.
"""

import keras
import tensorflow as tf


def set_up(*, seed: int, threads: int) -> None:
    """Fix the seeds, the number of threads and the order of sums.

    Another number of threads adds in another order and changes the last bits. Must be called
    before the first operation of the process.
    """
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    tf.config.experimental.enable_op_determinism()
    keras.utils.set_random_seed(seed)


def gpus() -> list[str]:
    """Return the names of the GPUs of this machine."""
    found = tf.config.list_physical_devices("GPU")
    return [device.name.removeprefix("/physical_device:") for device in found]


def train_on_all_gpus() -> bool:
    """Train all models of this process on all GPUs of this machine; return whether there are many.

    Each takes its share of a batch and they add up their gradients. With one or none nothing is
    changed. Must be called before models are made.
    """
    names = gpus()
    if len(names) > 1 and not tf.distribute.has_strategy():
        tf.distribute.experimental_set_strategy(tf.distribute.MirroredStrategy(names))
    return len(names) > 1
