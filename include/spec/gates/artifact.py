"""Gates on the artifact: its fidelity to the estimator and its cost. The rehearsal measures the cost."""

from __future__ import annotations

from typing import Literal

from pydantic import PositiveFloat

from include.spec.gates.base import Gate

__all__ = ["ArtifactSize", "Latency", "Memory", "OnnxParity", "Reproducible"]


class OnnxParity(Gate):
    """ONNX and scikit-learn must agree on the whole holdout: within `tolerance`, and on every label.

    The default tolerance is the model's `parity_tolerance`. Every policy contains this gate, declared or not.
    """

    kind: Literal["onnx_parity"] = "onnx_parity"
    tolerance: PositiveFloat | None = None

    @property
    def requirement(self) -> str:
        """What the gate requires, as a phrase."""
        within = "the declared tolerance" if self.tolerance is None else f"{self.tolerance:g}"
        return f"ONNX and scikit-learn agree within {within} and on every label"


class Reproducible(Gate):
    """A second training on the same snapshot, declaration and seed must give the same bytes of ``model.onnx``.

    Every policy of a model that declares ``reproducible=True`` contains this gate, declared or not.
    """

    kind: Literal["reproducible"] = "reproducible"

    @property
    def requirement(self) -> str:
        """What the gate requires, as a phrase."""
        return "a second training gives the same model.onnx, byte for byte"


class ArtifactSize(Gate):
    """All files of the artifact together may have at most `max_mib` mebibytes."""

    kind: Literal["artifact_size"] = "artifact_size"
    max_mib: PositiveFloat

    @property
    def requirement(self) -> str:
        """What the gate requires, as a phrase."""
        return f"the artifact has at most {self.max_mib:g} MiB"


class Latency(Gate):
    """The service's 99th percentile of latency in the rehearsal may be at most `max_p99_ms` milliseconds."""

    kind: Literal["latency"] = "latency"
    max_p99_ms: PositiveFloat

    @property
    def requirement(self) -> str:
        """What the gate requires, as a phrase."""
        return f"the 99th percentile of latency is at most {self.max_p99_ms:g} ms"


class Memory(Gate):
    """The service with only this model may use at most `max_mib` mebibytes in the rehearsal."""

    kind: Literal["memory"] = "memory"
    max_mib: PositiveFloat

    @property
    def requirement(self) -> str:
        """What the gate requires, as a phrase."""
        return f"the service uses at most {self.max_mib:g} MiB of memory"
