"""Observability of the service: metrics, the access log, a sample of its predictions, alerts."""

from model_service.observability.recorder import RequestRecorder, build_recorder

__all__ = ["RequestRecorder", "build_recorder"]
