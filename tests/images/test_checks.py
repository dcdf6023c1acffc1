"""Checks that stop `split`: too few images of a class, too many that cannot be read."""
