#!/bin/sh
# The `sluice` command in the image, in which the project is on PYTHONPATH and not installed.
exec python -m include.cli "$@"
