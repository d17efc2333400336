import pytest
from pydantic import ValidationError

from include.errors import ArtifactError
from include.inference import ModelSignature
from include.spec import Boolean, Categorical, EntityKey, Numeric


def signature_with(*features: object, **changes: object) -> ModelSignature:
    fields = {
        "model": "trip",
        "task": "binary",
        "entity_key": EntityKey(column="id"),
        "event_time": "at",
        "features": features,
        "classes": ("on_time", "late"),
    }
    return ModelSignature.model_validate(fields | changes)


def test_a_signature_comes_back_from_its_file_as_it_was() -> None:
    signature = signature_with(
        Numeric(name="distance", unit="km", minimum=0, maximum=1e4, nullable=True),
        Categorical(name="carrier", categories=("AA", "Ü"), handle_unknown="error"),
        Boolean(name="weekend"),
        single_row_exact=False,
    )
    assert ModelSignature.from_json(signature.to_json()) == signature


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "whole file"),
        ("{}", "model"),
        ('{"format_version": 2}', "model"),
        (signature_with(Boolean(name="a")).to_json().replace('"format_version": 1', '"format_version": 2'), "found 2"),
    ],
)
def test_a_file_that_is_no_signature_of_this_format_is_refused_by_name(text: str, named: str) -> None:
    with pytest.raises(ArtifactError, match=named):
        ModelSignature.from_json(text)


@pytest.mark.parametrize("categories", [("b", "a"), ("a", "a")])
def test_a_dictionary_must_be_sorted_and_without_doubles_since_positions_are_codes(categories: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError, match="sorted"):
        signature_with(Categorical(name="carrier", categories=categories))


def test_a_task_and_its_classes_must_agree() -> None:
    with pytest.raises(ValidationError, match="binary signature cannot have 0 classes"):
        signature_with(Boolean(name="a"), classes=())
