"""Keys: made at first use for their owner alone, by one of many, named by file or text, rotated."""

from __future__ import annotations

import subprocess
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.errors import SettingsError, SignatureError
from include.settings import Settings
from include.signing import Keyring, key_id_of, write_pair


def signer_id(folder: Path) -> str:
    return Keyring(folder).signer().key_id


def line_of(pem: Path) -> str:
    return pem.read_text().splitlines()[1]


def test_a_pair_is_made_at_first_use_for_its_owner_alone_and_is_trusted(tmp_path: Path) -> None:
    keyring = Keyring.of(Settings(home=tmp_path))
    assert keyring.trusted() == ()
    signer = keyring.signer()
    assert [key_id_of(key) for key in keyring.trusted()] == [signer.key_id]
    assert (tmp_path / "keys" / "signing.pem").stat().st_mode & 0o777 == 0o600
    assert keyring.signer().key_id == signer.key_id


def test_checking_alone_makes_no_key(tmp_path: Path) -> None:
    with pytest.raises(SignatureError, match="none is trusted"):
        Keyring(tmp_path / "keys").verify(b"x", Keyring(tmp_path / "others").signer().sign(b"x"), thing="x")
    assert not (tmp_path / "keys").exists()


def test_of_many_processes_that_sign_first_all_use_one_key(tmp_path: Path) -> None:
    with ProcessPoolExecutor(4, mp_context=get_context("fork")) as pool:
        ids = set(pool.map(signer_id, [tmp_path / "keys"] * 12))
    assert len(ids) == 1
    assert not list((tmp_path / "keys").rglob("*.tmp"))


@given(content=st.binary(max_size=200), place=st.integers(min_value=0), bit=st.integers(0, 7))
def test_no_changed_bit_passes(tmp_path_factory: pytest.TempPathFactory, content: bytes, place: int, bit: int) -> None:
    keyring = Keyring(tmp_path_factory.getbasetemp() / "one pair")
    signed = keyring.signer().sign(content)
    assert keyring.verify(content, signed, thing="it") == keyring.signer().key_id
    other = bytearray(content or b"\0")
    other[place % len(other)] ^= 1 << bit
    with pytest.raises(SignatureError, match="changed after they were signed"):
        keyring.verify(bytes(other), signed, thing="it")


@pytest.mark.parametrize("form", ["path", "line", "whole text"])
def test_keys_are_named_by_file_or_as_text(tmp_path: Path, form: str) -> None:
    private, public = write_pair(tmp_path / "pair")
    named = {"path": str, "line": line_of, "whole text": Path.read_text}[form]
    trainer = Keyring(tmp_path / "none", signing_key=named(private))
    service = Keyring(tmp_path / "none", trusted_keys=line_of(public) if form == "whole text" else named(public))
    assert service.verify(b"x", trainer.signer().sign(b"x"), thing="x") == public.stem
    assert trainer.verify(b"x", trainer.signer().sign(b"x"), thing="x") == public.stem
    assert not (tmp_path / "none").exists()


def test_any_other_tool_can_check_a_signature(tmp_path: Path) -> None:
    """OpenSSL 3 checks the bytes themselves: there is no format of our own between them and the signature."""
    import base64
    import json

    private, public = write_pair(tmp_path)
    (tmp_path / "content").write_bytes(b"the manifest")
    signed = json.loads(Keyring(tmp_path, signing_key=str(private)).signer().sign(b"the manifest"))
    (tmp_path / "raw").write_bytes(base64.b64decode(signed["signature"]))
    call = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", str(public), "-rawin"]
    call += ["-in", str(tmp_path / "content"), "-sigfile", str(tmp_path / "raw")]
    assert "Verified Successfully" in subprocess.run(call, check=True, capture_output=True, text=True).stdout


def test_rotation_signs_with_a_new_key_and_trusts_the_old_one_until_it_is_taken_away(tmp_path: Path) -> None:
    keyring = Keyring(tmp_path)
    old = keyring.signer()
    signed = old.sign(b"x")
    new = keyring.rotate()
    assert new.key_id != old.key_id
    assert keyring.signer().key_id == new.key_id
    assert keyring.verify(b"x", signed, thing="x") == old.key_id
    (tmp_path / "trusted" / f"{old.key_id}.pem").unlink()
    with pytest.raises(SignatureError, match=f"found one by {old.key_id}"):
        keyring.verify(b"x", signed, thing="x")


def test_several_keys_are_trusted_while_a_named_one_is_rotated(tmp_path: Path) -> None:
    pairs = [write_pair(tmp_path / name) for name in ("old", "new")]
    service = Keyring(tmp_path, trusted_keys=",".join(str(public) for _, public in pairs))
    for private, public in pairs:
        signed = Keyring(tmp_path, signing_key=str(private)).signer().sign(b"x")
        assert service.verify(b"x", signed, thing="x") == public.stem


def test_who_only_trusts_cannot_sign(tmp_path: Path) -> None:
    _, public = write_pair(tmp_path / "pair")
    keyring = Keyring(tmp_path / "keys", trusted_keys=str(public))
    with pytest.raises(SettingsError, match="SLUICE_SIGNING_KEY: expected the private key"):
        keyring.signer()
    with pytest.raises(SettingsError, match="to rotate the embedded pair"):
        keyring.rotate()
    assert not (tmp_path / "keys").exists()


@pytest.mark.parametrize("named", ["no/such/file", "bm90IGEga2V5", "rsa.pem"])
def test_what_is_no_key_is_said_without_showing_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str) -> None:
    monkeypatch.chdir(tmp_path)
    subprocess.run(["openssl", "genrsa", "-out", "rsa.pem", "2048"], check=True, capture_output=True)
    with pytest.raises(SettingsError, match="SLUICE_SIGNING_KEY: expected") as caught:
        Keyring(tmp_path, signing_key=named).signer()
    assert "bm90" not in str(caught.value)


def test_a_private_key_is_never_overwritten(tmp_path: Path) -> None:
    private, _ = write_pair(tmp_path)
    before = private.read_bytes()
    with pytest.raises(SettingsError, match="expected no key in the folder"):
        write_pair(tmp_path)
    assert private.read_bytes() == before
    assert private.stat().st_mode & 0o777 == 0o600
