"""Gates on what will be served: the graph, and what it costs. The figures are the rehearsal's."""

from __future__ import annotations

from typing import Literal

from pydantic import PositiveFloat

from include.spec.base import SpecModel


class OnnxParity(SpecModel):
    """ONNX must answer as scikit-learn does on the whole holdout: within `difference`, with no label changed.

    With none given, within the model's `parity_tolerance`. Every policy holds this gate, declared or not.
    """

    kind: Literal["onnx_parity"] = "onnx_parity"
    difference: PositiveFloat | None = None

    @property
    def asks(self) -> str:
        """What the gate asks for, in words."""
        within = "the declared tolerance" if self.difference is None else f"{self.difference:g}"
        return f"ONNX answers as scikit-learn does, within {within} and with no label changed"


class Reproducible(SpecModel):
    """Training again on the same snapshot, declaration and seed must give the same ``model.onnx``, byte for byte.

    Every policy of a model declared `reproducible` holds this gate; no other model is trained twice.
    """

    kind: Literal["reproducible"] = "reproducible"

    @property
    def asks(self) -> str:
        """What the gate asks for, in words."""
        return "training again gives the same model, byte for byte"


class ArtifactSize(SpecModel):
    """The artifact's files together must not be larger than `mib` mebibytes."""

    kind: Literal["artifact_size"] = "artifact_size"
    mib: PositiveFloat

    @property
    def asks(self) -> str:
        """What the gate asks for, in words."""
        return f"the artifact is at most {self.mib:g} MiB large"


class Latency(SpecModel):
    """In the rehearsal, 99 of 100 answers of the service must come within `p99_ms` milliseconds."""

    kind: Literal["latency"] = "latency"
    p99_ms: PositiveFloat

    @property
    def asks(self) -> str:
        """What the gate asks for, in words."""
        return f"99 of 100 answers come within {self.p99_ms:g} ms"


class Memory(SpecModel):
    """In the rehearsal, the service with this model alone must stay within `mib` mebibytes."""

    kind: Literal["memory"] = "memory"
    mib: PositiveFloat

    @property
    def asks(self) -> str:
        """What the gate asks for, in words."""
        return f"the service needs at most {self.mib:g} MiB of memory"
