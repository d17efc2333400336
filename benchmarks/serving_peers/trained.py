"""The two samples, trained and promoted by the pipeline in a home of the bench's own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from serving_peers import REPOSITORY

MODELS = ("iris", "flight_delay")
ROWS = (1, 100)
HOME = REPOSITORY / ".sluice" / "bench"


@dataclass(frozen=True)
class Trained:
    """Where everything lies that servers are started with."""

    home: Path
    database_url: str

    def artifact(self, model: str) -> Path:
        """Return the folder of the model's only artifact."""
        return max((self.home / "artifacts" / model).iterdir(), key=lambda each: int(each.name))

    def body(self, model: str, rows: int) -> Path:
        """Return the file of a request's body, which every server is sent."""
        return self.home / f"{model}-{rows}.json"

    def rows(self, model: str, count: int) -> list[dict[str, Any]]:
        """Return the newest `count` rows that the model was judged on: each once, as long as there are so many.

        A few rows over and over would be answered in half the time: the processor learns their way through the trees.
        """
        from include.inference import ModelSignature

        names = ModelSignature.from_json((self.artifact(model) / "signature.json").read_bytes()).names
        (snapshot,) = (self.home / "snapshots" / model).glob("*.parquet")
        table = pq.read_table(snapshot, columns=list(names))
        found = table.slice(max(0, table.num_rows - count)).to_pylist()
        return [found[number % len(found)] for number in range(count)]


@contextmanager
def trained() -> Iterator[Trained]:
    """Yield the samples, trained unless an earlier run did; the database runs meanwhile."""
    from include.settings import Settings
    from include.warehouse import embedded_server, migrate

    HOME.mkdir(parents=True, exist_ok=True)
    with embedded_server(HOME) as url:
        migrate(url)
        settings = Settings(home=HOME, database_url=url, statsd_host=None)
        for model in MODELS:
            _train(model, settings)
        found = Trained(HOME, url)
        for model in MODELS:
            for rows in ROWS:
                _write_body(found, model, rows)
            _write_pipeline(found, model)
        yield found


def _train(model: str, settings: Any) -> None:
    from include import pipeline
    from include.models import declared_models
    from include.warehouse.samples import load_samples

    with pipeline.open_resources(settings) as resources:
        if resources.ledger.champion(model) is not None:
            return
        print(f"training {model}, and rehearsing it ...", flush=True)
        today = datetime.now(UTC)
        load_samples(resources.engine, dates="shifted", today=today.date())
        spec = declared_models(settings.models_dir)[model]
        run = f"bench__{today.isoformat()}"
        pipeline.retrain(spec, run, today, resources, actor="bench", report=None)


def _write_body(found: Trained, model: str, rows: int) -> None:
    """Write a request: one row by itself, or a list of them. Irises as lists, flights by name, as clients would."""
    made: list[Any] = found.rows(model, rows)
    if model == "iris":
        made = [list(row.values()) for row in made]
    found.body(model, rows).write_text(json.dumps({"features": made[0] if rows == 1 else made}))


def _write_pipeline(found: Trained, model: str) -> None:
    """Write what a naive service would unpickle: encoder and estimator in one, as scikit-learn's users do.

    It is the estimator of our artifact itself, so that every server gives the same answers.
    """
    import joblib
    import numpy as np
    from sklearn.compose import make_column_transformer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, OrdinalEncoder

    from include.inference import ModelSignature

    estimator = joblib.load(found.artifact(model) / "model.joblib")
    signature = ModelSignature.from_json((found.artifact(model) / "signature.json").read_bytes())
    named = {each.name: each for each in signature.features if each.kind == "categorical"}
    if named:
        encoder = OrdinalEncoder(
            categories=[np.array(each.categories, dtype=object) for each in named.values()],
            handle_unknown="use_encoded_value",
            unknown_value=-1,
            dtype=np.float32,
        )
        order = [*named, *(each for each in signature.names if each not in named)]
        back = FunctionTransformer(np.take, kw_args={"indices": [order.index(n) for n in signature.names], "axis": 1})
        columns = make_column_transformer((encoder, list(named)), ("passthrough", order[len(named) :]))
        import pandas as pd

        estimator = make_pipeline(columns, back, estimator)
        columns.fit(pd.DataFrame(_one_of_each(found.rows(model, 50), named)))
    joblib.dump((estimator, signature.classes), found.home / f"{model}.joblib")


def _one_of_each(rows: list[dict[str, Any]], named: dict[str, Any]) -> list[dict[str, Any]]:
    """Return rows that hold declared categories only, which an encoder can be fitted on."""
    return [row | {name: each.categories[0] for name, each in named.items()} for row in rows]
