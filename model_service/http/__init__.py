"""The HTTP layer: errors, JSON, bodies, limits, middleware and the fast path. It knows no model and no database."""
