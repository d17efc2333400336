"""The service that most write first: Flask, joblib, predict and predict_proba. Run by gunicorn, 4 sync workers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import joblib
import pandas as pd
from flask import Flask, jsonify, request

app = Flask(__name__)
home = Path(os.environ["BENCH_HOME"])
models = {name: joblib.load(home / f"{name}.joblib") for name in ("iris", "flight_delay")}


@app.post("/v1/models/<name>/predict")
def predict(name: str) -> Any:
    estimator, classes = models[name]
    features = request.get_json()["features"]
    one = isinstance(features, dict) or not isinstance(features[0], list | dict)
    rows = [features] if one else features
    table = pd.DataFrame(rows) if isinstance(rows[0], dict) else rows
    found, chances = estimator.predict(table), estimator.predict_proba(table)
    answers = [
        {
            "label": classes[int(index)],
            "class_index": int(index),
            "probabilities": dict(zip(classes, row.tolist(), strict=True)),
        }
        for index, row in zip(found, chances, strict=True)
    ]
    return jsonify({"prediction": answers[0]} if one else {"predictions": answers})
