#!/bin/sh
# The `sluice` command in the image, where the project lies on PYTHONPATH and is not installed.
exec python -m include.cli "$@"
