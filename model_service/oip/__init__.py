"""The Open Inference Protocol, version 2, over REST, with the binary tensor extension.

`request` turns bytes and headers into a `layout` and columns, the model's ``ColumnEncoder`` and ``Scorer`` predict, and
`response` turns the scores into tensors and bytes. `metadata` describes servers and models. The routes are in
``routes/oip.py``.

Sources
-------
The protocol: https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
Its binary tensors: https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md
"""
