"""moto's S3 server as a separate process: it prints its port, and answers one request at a time.

One at a time, because moto compares and writes in two steps, where S3 does both at once.
"""

from __future__ import annotations

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

server = make_server("127.0.0.1", 0, DomainDispatcherApplication(create_backend_app), threaded=False)
print(server.port, flush=True)
server.serve_forever()
