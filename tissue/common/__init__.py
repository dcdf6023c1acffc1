"""What every room uses. Importing it sets the environment, before any library reads it."""

from tissue.common.runtime import set_environment

set_environment()
