"""A short run of the fuzzer with a fixed seed. `make fuzz SECONDS=3600` is the long one, guided by coverage."""

from __future__ import annotations

import pytest

from tests.fuzz.loop import Fuzzer, reproduce
from tests.fuzz.targets import TARGETS, Found, Response, Service, Target

EXECUTIONS = 1_000


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Service:
    return Service(tmp_path_factory.mktemp("home"))


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_no_input_meets_a_fault_of_our_own(service: Service, target: Target) -> None:
    fuzzer = Fuzzer(service, target, seed=16)
    findings = [(target.name, data, error) for data, error in fuzzer.run(EXECUTIONS)]
    assert not findings, reproduce(findings[:5])
    assert fuzzer.executions == EXECUTIONS
    assert len(fuzzer.statuses) > 1, "inputs that are all refused alike reach nothing"


def test_a_broken_promise_is_found(service: Service) -> None:
    def refuse(_data: bytes, response: Response) -> None:
        raise Found(response.body.decode())

    target = Target("V1", TARGETS[0].seeds, TARGETS[0].request, refuse)
    assert any(isinstance(error, Found) for _, error in Fuzzer(service, target, seed=1).run(50))


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("V1", b'{"features":{"distance":null,"carrier":"AA","weekend":false}}'),
        ("V2 JSON", TARGETS[2].seeds[0]),
    ],
)
def test_a_row_for_which_the_model_has_no_answer_is_422(service: Service, name: str, data: bytes) -> None:
    """Found by the fuzzer: the estimator of the benchmark has no answer for a missing value, and that was a 500."""
    target = next(each for each in TARGETS if each.name == name)
    response = service.ask(target, data)
    assert response.status == 422
    assert b"1 row(s) have no answer from the model" in response.body


def test_a_query_of_raw_bytes_is_400(service: Service) -> None:
    """Found by the fuzzer: Flask's parser of queries fails at bytes that are not ASCII, and that was a 500."""
    target = next(each for each in TARGETS if each.name == "OpenAPI query")
    assert service.ask(target, b"model=\xff").status == 400
