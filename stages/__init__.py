"""The stages of the pipeline, one script each.

This file makes `stages` a package of its own: without it, any package of that name on PYTHONPATH
would be run instead.
"""
