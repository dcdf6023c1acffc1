"""The stages of the pipeline, one script each.

This file makes `stages` a package of its own: without it, any package of that name on PYTHONPATH
would be run instead.
"""

import tissue.common  # noqa: F401 sets the environment before a stage imports any library
