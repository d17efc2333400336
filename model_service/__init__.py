"""The online service: champions answer over HTTP. It serves ONNX only, and cannot unpickle anything."""

from model_service.app import create_app
from model_service.models.registry import LoadedModel, ModelRegistry, ServedModel

__all__ = ["LoadedModel", "ModelRegistry", "ServedModel", "create_app"]
