"""The models of a worker: registry, loading, the champions of the ledger, pinned and cached versions."""
