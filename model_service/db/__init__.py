"""The database as requests use it: connections, the executor with its circuit breaker, score look-ups."""
