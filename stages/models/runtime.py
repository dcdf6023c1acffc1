"""TensorFlow set up so that the same inputs give the same bits on the same machine.

The one module that names TensorFlow; all others are plain Keras 3.
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
