"""The Open Inference Protocol, version 2, over REST, with the binary tensor extension.

A request passes `request` (bytes and headers become a `layout` and columns), the model's ``ColumnEncoder`` and
``Scorer``, and `answer` (scores become outputs, and outputs bytes). `metadata` tells what a model
takes and gives. `routes` is the only module that knows Flask.

Sources
-------
The protocol: https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
Its binary tensors: https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md
"""

from model_service.routes.oip import oip_routes

__all__ = ["oip_routes"]
