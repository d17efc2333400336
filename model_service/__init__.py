"""The online service: champions answer over HTTP. It serves ONNX only, and cannot unpickle anything."""

from model_service.app import create_app
from model_service.slots import LoadedModel, ModelSlot, ModelSlots

__all__ = ["LoadedModel", "ModelSlot", "ModelSlots", "create_app"]
