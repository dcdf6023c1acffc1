"""Environment variables, worker processes, quiet imports, and TensorFlow with the same results.

TensorFlow takes seconds to import, so it is imported where it is needed: only here and in
`tissue.error_analysis.gradcam`. All other modules are plain Keras 3.
"""

import multiprocessing
import os
import platform
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager

from tissue.common.errors import InputError

# Sums in vectors of another length end in other last bits. AVX2 is in all processors of Intel and
# AMD since 2015; NumPy 2.4 has other names for what is newer than NumPy 2.2 has.
AVX2_ONLY = {
    "OPENBLAS_CORETYPE": "Haswell",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "TF_ENABLE_ONEDNN_OPTS": "1",
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL "
    "AVX512_ICL AVX512_SPR",
}


def set_environment() -> None:
    """Set the variables that libraries read when they are imported; `tissue.common` calls it.

    What a user has in files and variables for other projects must not change results, and neither
    must the processor: all of one architecture get the instructions that they have in common.
    Jupyter and Colab name a backend of matplotlib that need not be installed here; no figure uses
    any.
    """
    if platform.machine().lower() in ("x86_64", "amd64"):
        os.environ |= AVX2_ONLY
    # The notices of TensorFlow would hide the messages of the stages.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ["MPLBACKEND"] = "agg"
    for name in ("KERAS_MAX_EPOCHS", "KERAS_MAX_STEPS_PER_EPOCH", "TF_USE_LEGACY_KERAS"):
        os.environ.pop(name, None)


def process_pool(workers: int) -> ProcessPoolExecutor:
    """Return a pool of spawned processes that end with this one.

    Forked processes would copy the memory of this one, and its threads may hold locks.

    Raises:
        InputError: if there is no shared memory for the locks of the pool.
    """
    context = multiprocessing.get_context("spawn")
    try:
        return ProcessPoolExecutor(workers, mp_context=context, initializer=_exit_with_parent)
    except OSError as error:
        raise InputError(
            f"expected shared memory for {workers} processes, as in /dev/shm on Linux. Received: "
            f"{error}. Free some, or mount it writable, and run it again."
        ) from None


def _exit_with_parent() -> None:
    # A process of a pool does not notice that its parent was killed, and would wait forever.
    parent = multiprocessing.parent_process()
    assert parent is not None, "called in a process of a pool"

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


@contextmanager
def quiet_import() -> Iterator[None]:
    """Hide what native libraries print to standard error during an import, unless it fails.

    TensorFlow prints six lines about processors and missing GPUs at any log level, which would hide
    the messages of the stages.
    """
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as hidden:
        os.dup2(hidden.fileno(), 2)
        try:
            yield
        except BaseException:
            hidden.seek(0)
            os.write(stderr, hidden.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


def set_up(*, seed: int, threads: int) -> None:
    """Make TensorFlow deterministic; must be called before the first operation of the process.

    Another number of threads adds in another order and changes the last bits. The settings of Keras
    are those of a fresh installation, whatever ~/.keras/keras.json says.
    """
    with quiet_import():
        import keras
        import tensorflow as tf
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")
    keras.config.set_epsilon(1e-7)
    keras.config.set_image_data_format("channels_last")
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
    """Share each batch among all GPUs, if there are several; return whether there are.

    Must be called before models are made.
    """
    import tensorflow as tf

    names = gpus()
    if len(names) > 1 and not tf.distribute.has_strategy():
        tf.distribute.experimental_set_strategy(tf.distribute.MirroredStrategy(names))
    return len(names) > 1
