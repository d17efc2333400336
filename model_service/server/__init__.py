"""Adjustments of the server process: granian, the request timeout, CPU affinity, memory, parent death."""
