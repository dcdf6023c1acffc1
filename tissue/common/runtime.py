"""How processes run: pools, quiet imports, and TensorFlow with repeatable results.

Besides `tissue.error_analysis.gradcam` this is the one module that names TensorFlow: all others
are plain Keras 3. TensorFlow takes seconds to import, so it is imported where it is first needed.
"""

import multiprocessing
import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager


def process_pool(workers: int) -> ProcessPoolExecutor:
    """Return a pool whose processes are started anew and end with this one.

    Forked ones would hold a copy of all that this process holds, and must not have its threads.
    """
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_exit_with_parent)


def _exit_with_parent() -> None:
    # They do not notice that their parent was killed, and would wait for ever.
    parent = multiprocessing.parent_process()
    assert parent is not None, "called in a process of a pool"

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


@contextmanager
def quiet_import() -> Iterator[None]:
    """Hold back what native libraries print to standard error while they are imported.

    TensorFlow tells six lines about processors and missing graphics cards whatever its log level,
    and they would hide the messages of the stages. After an error they are shown.
    """
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(stderr, held.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


def set_up(*, seed: int, threads: int) -> None:
    """Fix the seeds, the number of threads and the order of sums.

    Another number of threads adds in another order and changes the last bits. Must be called
    before the first operation of the process.
    """
    with quiet_import():
        import keras
        import tensorflow as tf
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    tf.config.experimental.enable_op_determinism()
    keras.utils.set_random_seed(seed)


def gpus() -> list[str]:
    """Return the names of the GPUs of this machine."""
    import tensorflow as tf

    found = tf.config.list_physical_devices("GPU")
    return [device.name.removeprefix("/physical_device:") for device in found]


def train_on_all_gpus() -> bool:
    """Train all models of this process on all GPUs of this machine; return whether there are many.

    Each takes its share of a batch and they add up their gradients. With one or none nothing is
    changed. Must be called before models are made.
    """
    import tensorflow as tf

    names = gpus()
    if len(names) > 1 and not tf.distribute.has_strategy():
        tf.distribute.experimental_set_strategy(tf.distribute.MirroredStrategy(names))
    return len(names) > 1
