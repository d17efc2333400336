"""The docs page: the OpenAPI description as a single HTML file without external resources."""

from __future__ import annotations

import json
from collections.abc import Iterator
from html import escape
from typing import Any, Final

_STYLE: Final = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h2 { margin-top: 2.5rem; border-bottom: 1px solid #8886; }
details { border: 1px solid #8886; border-radius: .4rem; margin: .5rem 0; padding: .4rem .8rem; }
summary { cursor: pointer; }
code, pre { font: .9em/1.45 ui-monospace, monospace; }
pre { overflow: auto; max-height: 30rem; padding: .6rem; background: #8881; border-radius: .3rem; }
.method { display: inline-block; min-width: 4.2rem; font-weight: 600; }
table { border-collapse: collapse; } td, th { text-align: left; padding: .2rem .8rem .2rem 0; vertical-align: top; }
"""


_HIDDEN: Final = """
<p>The models are described only to requests with a token that has the scope <code>models</code>. A browser sends none:
<code>curl -H "Authorization: Bearer $TOKEN" &lt;this address&gt; -o docs.html</code></p>
"""


def render_page(document: dict[str, Any], *, models_are_hidden: bool = False) -> str:
    """Return an OpenAPI document as an HTML page; `models_are_hidden`: with a note how to see the models."""
    info = document["info"]
    tags: dict[str, list[str]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            tags.setdefault(operation["tags"][0], []).append("".join(_operation(path, method, operation)))
    groups = "".join(f"<section><h2>{escape(tag)}</h2>{''.join(parts)}</section>" for tag, parts in tags.items())
    schemas = "".join(
        f'<details id="{escape(name)}"><summary><code>{escape(name)}</code></summary>{_json(schema)}</details>'
        for name, schema in document["components"]["schemas"].items()
    )
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(info["title"])}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head>'
        f"<body><h1>{escape(info['title'])}</h1><p>{escape(info['description'])}</p>"
        f'<p>For programs: <a href="/openapi.json">openapi.json</a>.</p>{_HIDDEN if models_are_hidden else ""}'
        f"<main>{groups}<section><h2>SchemaRegistry</h2>{schemas}</section></main></body></html>\n"
    )


def _operation(path: str, method: str, operation: dict[str, Any]) -> Iterator[str]:
    yield f'<details><summary><span class="method">{escape(method.upper())}</span><code>{escape(path)}</code> '
    yield f"{escape(operation['summary'])}</summary>"
    if "description" in operation:
        yield f"<p>{escape(operation['description'])}</p>"
    if operation["parameters"]:
        rows = "".join(
            f"<tr><td><code>{escape(each['name'])}</code></td><td>{escape(each['in'])}"
            f"{', required' if each['required'] else ''}</td><td>{escape(each.get('description', ''))}"
            f" <code>{escape(json.dumps(each['schema']))}</code></td></tr>"
            for each in operation["parameters"]
        )
        yield f"<h3>Parameters</h3><table>{rows}</table>"
    if "requestBody" in operation:
        for media_type, body in operation["requestBody"]["content"].items():
            yield f"<h3>RequestBody <code>{escape(media_type)}</code></h3>{_json(body['schema'])}"
    yield "<h3>Responses</h3><table>"
    for status, response in operation["responses"].items():
        schemas = "".join(
            f"<div><code>{escape(media_type)}</code>{_json(content.get('schema', {}))}</div>"
            for media_type, content in response.get("content", {}).items()
        )
        yield f"<tr><th>{escape(status)}</th><td>{escape(response['description'])}{schemas}</td></tr>"
    yield "</table></details>"


def _json(schema: Any) -> str:
    if isinstance(schema, dict) and set(schema) == {"$ref"}:
        name = schema["$ref"].rsplit("/", 1)[1]
        return f' <a href="#{escape(name)}"><code>{escape(name)}</code></a>'
    return f"<pre>{escape(json.dumps(schema, indent=2, ensure_ascii=False))}</pre>"
