"""Asynchronous prediction jobs: service, repository, chunks and the worker thread."""
