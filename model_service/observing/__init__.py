"""What the service shows of itself: metrics, the access log, a sample of its predictions, alerts."""

from model_service.observing.observer import Observer, observer_for

__all__ = ["Observer", "observer_for"]
