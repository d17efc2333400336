"""A token from the shell, as the service takes it."""

from __future__ import annotations

import pytest

from include.cli import main
from include.settings import Settings
from model_service.auth import build_authenticator
from model_service.http.errors import PermissionDeniedError

SECRET = "a secret of the tests, long enough"  # noqa: S105


@pytest.fixture
def mint(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setenv("SLUICE_AUTH_SECRET", SECRET)

    def call(*words: str) -> tuple[int, str, str]:
        code = main(["token", *words])
        said = capsys.readouterr()
        return code, said.out.strip(), said.err

    return call


def test_a_minted_token_opens_the_door_for_its_scopes_and_models(mint) -> None:
    code, token, _ = mint("shop", "--scope", "predict models", "--model", "iris", "--model", "flight_delay")
    assert code == 0
    authenticator = build_authenticator(Settings())
    assert authenticator is not None
    caller = authenticator.authenticate(f"Bearer {token}", "predict", "iris")
    assert (caller.subject, caller.scopes, caller.models) == ("shop", {"predict", "models"}, {"iris", "flight_delay"})
    with pytest.raises(PermissionDeniedError):
        authenticator.authenticate(f"Bearer {token}", "scores", "iris")


def test_by_default_it_is_good_for_all_models_and_an_hour(mint) -> None:
    import jwt

    claims = jwt.decode(mint("shop")[1], SECRET, algorithms=["HS256"], audience="sluice")
    assert claims["exp"] - claims["iat"] == 3600
    assert claims["scope"] == "predict scores models"
    assert "models" not in claims


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["shop", "--scope", "all"], "--scope: expected some of predict, scores, models, metrics"),
        (["shop", "--scope", " "], "--scope"),
        (["shop", "--minutes", "0"], "--minutes: expected 1 to 1440"),
        (["shop", "--minutes", "100000"], "--minutes: expected 1 to 1440"),
    ],
)
def test_what_makes_no_sense_is_refused(mint, words: list[str], complaint: str) -> None:
    code, said, complained = mint(*words)
    assert (code, said) == (1, "")
    assert complaint in complained


@pytest.mark.parametrize(("secret", "found"), [("", "a shorter one"), ("short", "a shorter one"), (None, "none")])
def test_without_a_good_secret_it_says_how_to_make_one(mint, monkeypatch, secret: str | None, found: str) -> None:
    if secret is None:
        monkeypatch.delenv("SLUICE_AUTH_SECRET")
    else:
        monkeypatch.setenv("SLUICE_AUTH_SECRET", secret)
    code, _, complained = mint("shop")
    assert code == 1
    assert f"found {found}" in complained
    assert "openssl rand -hex 32" in complained
