"""FastAPI and onnxruntime without authentication, validation, metrics or log. Run by uvicorn, 2 workers."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

app = FastAPI()
home = Path(os.environ["BENCH_HOME"])


class Model:
    """A session, and the codes of the categories."""

    def __init__(self, name: str) -> None:
        folder = max((home / "artifacts" / name).iterdir(), key=lambda each: int(each.name))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(folder / "model.onnx", options)
        self.input = self.session.get_inputs()[0].name
        self.output = [self.session.get_outputs()[-1].name]
        signature = json.loads((folder / "signature.json").read_text())
        self.classes = signature["classes"]
        self.names = [feature["name"] for feature in signature["features"]]
        self.codes = [
            {word: float(code) for code, word in enumerate(feature["categories"])}
            if feature["kind"] == "categorical"
            else None
            for feature in signature["features"]
        ]

    def matrix(self, rows: list[Any]) -> np.ndarray:
        if isinstance(rows[0], dict):
            rows = [[row[name] for name in self.names] for row in rows]
        coded = [
            [
                (np.nan if value is None else value) if codes is None else codes.get(value, -1.0)
                for value, codes in zip(row, self.codes, strict=True)
            ]
            for row in rows
        ]
        return np.array(coded, dtype=np.float32)


models = {name: Model(name) for name in ("iris", "flight_delay")}


@app.post("/v1/models/{name}/predict")
async def predict(name: str, request: Request) -> JSONResponse:
    model = models[name]
    features = (await request.json())["features"]
    one = isinstance(features, dict) or not isinstance(features[0], list | dict)
    chances = model.session.run(model.output, {model.input: model.matrix([features] if one else features)})[0]
    answers = [
        {
            "label": model.classes[index],
            "class_index": index,
            "probabilities": dict(zip(model.classes, row, strict=True)),
        }
        for index, row in zip(chances.argmax(axis=1).tolist(), chances.tolist(), strict=True)
    ]
    return JSONResponse({"prediction": answers[0]} if one else {"predictions": answers})
