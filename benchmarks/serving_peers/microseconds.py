"""Where a request's microseconds go: each part alone, in this process, by its processor time."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterable
from typing import Any

from serving_peers.empty import empty_flask
from serving_peers.servers import SECRET, token
from serving_peers.trained import MODELS, Trained
from serving_peers.wsgi import base_environ

REPEATS, TURNS = 1_000, 15


def table(found: Trained) -> str:
    """Return the parts of a prediction of one row, beside an empty route of Flask, as Markdown."""
    columns = [_parts(found, model) for model in MODELS]
    lines = [
        f"Processor time of a request with one row, in process, in µs (minimum of {TURNS} rounds of {REPEATS}):",
        "",
        f"| part | {' | '.join(MODELS)} |",
        f"|---|{'--:|' * len(MODELS)}",
    ]
    lines += [f"| {name} | {' | '.join(f'{column[name]:.1f}' for column in columns)} |" for name in columns[0]]
    return "\n".join(lines)


def _least(call: Callable[[], Any]) -> float:
    found = []
    for _ in range(TURNS):
        began = time.thread_time()
        for _ in range(REPEATS):
            call()
        found.append((time.thread_time() - began) / REPEATS * 1e6)
    return min(found)


def _parts(found: Trained, model: str) -> dict[str, float]:
    from model_service.http.body import parse_features, read_body
    from model_service.http.json import encode
    from model_service.http.json_structure import check_depth
    from model_service.http.request_context import PHASES, RequestContext
    from model_service.http.responses import SinglePrediction, to_prediction

    path, body = f"/v1/models/{model}/predict", found.body(model, 1).read_bytes()
    environ = base_environ("POST", path, len(body), f"Bearer {token()}") | {"CONTENT_TYPE": "application/json"}
    nothing = _least(lambda: _asked(_answers_nothing, environ, body))
    fast_path, flask = (_service(found, way) for way in (True, False))
    middleware = fast_path.wsgi_app._middleware
    context = RequestContext(environ, path)
    loaded = fast_path.registry[model].require_loaded()
    features, _ = parse_features(body, 10)
    values = loaded.encoder.values(features)
    scores = loaded.scorer.score_one(values)
    about = (loaded.model, loaded.version, loaded.artifact_digest, context.request_id, loaded.registered.created_at)
    bound = loaded.scorer._one._free[-1].binding

    def pass_guard() -> None:
        one = RequestContext(environ, path)
        middleware.before_request(one, environ, "predict", model)
        one.timings = context.timings
        one.model, one.version, one.rows = model, 1, 1
        middleware.after_request(one, 200)

    def decode() -> None:
        environ["wsgi.input"] = io.BytesIO(body)
        read_body(environ, 10_000)
        check_depth(body, 64)
        parse_features(body, 10)

    for phase in PHASES:
        context.mark(phase)
    parts = {
        "middleware: id, token, limits, metrics, access log": _least(pass_guard),
        "decode: body, depth, JSON, duplicate names": _least(decode),
        "validate and encode the row": _least(lambda: loaded.encoder.values(features)),
        "predict": _least(lambda: loaded.scorer.score_one(values)),
        "(of which onnxruntime's own call)": _least(lambda: loaded.scorer._one._run(bound, None)),
        "encode the response": _least(lambda: encode(SinglePrediction(*about, to_prediction(loaded.classes, scores)))),
    }
    whole = _least(lambda: _asked(fast_path, environ, body)) - nothing
    named = sum(value for name, value in parts.items() if not name.startswith("("))
    parts["the rest: path, headers, timings, calls"] = max(0.0, whole - named)
    parts["**the whole, before Flask's dispatcher**"] = whole
    parts["the same with Flask's route"] = _least(lambda: _asked(flask, environ, body)) - nothing
    empty = empty_flask()
    parts["an empty route of Flask"] = _least(lambda: _asked(empty, environ, body)) - nothing
    return parts


def _service(found: Trained, way: bool) -> Any:
    """Return the service as a worker has it, in this process; nobody carries its notes away."""
    from include.registry import Ledger, open_artifact_store
    from include.settings import Settings
    from include.warehouse import open_engine
    from model_service import ModelRegistry, create_app
    from model_service.models.loading import load_version
    from model_service.models.registry import LoadedModel

    engine = open_engine(found.database_url)
    settings = Settings(home=found.home, database_url=found.database_url, service_fast_path=way, auth_secret=SECRET)
    registry = ModelRegistry(MODELS)
    for model in MODELS:
        champion = Ledger(engine).champion(model)
        registered = Ledger(engine).version(model, champion.to_version)
        scorer = load_version(open_artifact_store(settings), registered)
        registry[model].current = LoadedModel(scorer, registered, champion)
    app: Any = create_app(settings, registry, engine)
    app.registry = registry
    return app


def _asked(app: Callable[..., Iterable[bytes]], environ: dict[str, Any], body: bytes) -> bytes:
    def start(status: str, _headers: Any, _exc_info: Any = None) -> None:
        assert status.startswith("200"), status

    return b"".join(app(dict(environ) | {"wsgi.input": io.BytesIO(body)}, start))


def _answers_nothing(_environ: Any, start: Any) -> list[bytes]:
    start("200 OK", [])
    return [b""]
