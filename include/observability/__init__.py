"""What a process outside Airflow and the service shows to Prometheus: the ledger, the disk, and what came by StatsD.

`ledger_metrics` reads the ledger, `disk_metrics` the file system, `StatsdReceiver` what Airflow and the pipeline send.
`render` writes them all as one page. No process and no server is started here.
"""

from include.observability.exposition import render
from include.observability.ledger_metrics import database_metrics, disk_metrics, heartbeat_metrics, ledger_metrics
from include.observability.statsd_mapping import MAPPING_FILE, MappedMetric, StatsdMapping, read_mapping
from include.observability.statsd_receiver import StatsdReceiver

__all__ = [
    "MAPPING_FILE",
    "MappedMetric",
    "StatsdMapping",
    "StatsdReceiver",
    "database_metrics",
    "disk_metrics",
    "heartbeat_metrics",
    "ledger_metrics",
    "read_mapping",
    "render",
]
