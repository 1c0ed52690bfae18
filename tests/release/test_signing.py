"""Attestation and signature: what no trusted key vouches for is refused, wherever it is used."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

import modelwright as mw
from modelwright.core.attestation import ATTESTATION, BOM, SIGNATURE, Attestation
from modelwright.core.errors import ArtefactError, UsageError
from modelwright.core.store import from_json, sha256, to_json
from modelwright.release import signing, trust
from projects import QUICK, replace_model, writable_copy

Keys = dict[str, Path]


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    """Two pairs: ours and somebody else's."""
    found = {}
    for name in ("ours", "theirs"):
        private, public, _ = mw.new_keys(tmp_path / name)
        found |= {name: private, f"{name} public": public}
    return found


@pytest.fixture
def signed(project: Path, keys: Keys, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The released project, its run signed afterwards; ours is trusted."""
    monkeypatch.setenv("MODELWRIGHT_SIGNING_KEY", str(keys["ours"]))
    monkeypatch.setenv("MODELWRIGHT_TRUSTED_KEYS", str(keys["ours public"]))
    [run] = (project / "runs").iterdir()
    trust.sign(run)
    return project


def run_of(project: Path) -> Path:
    [run] = (project / "runs").iterdir()
    return run


def test_the_attestation_says_what_was_released(released: mw.Released) -> None:
    found = from_json((released.run / ATTESTATION).read_bytes(), Attestation)
    manifest = mw.Artefact.load(released.run / "artefact").manifest
    assert found.artefact == released.record.artefact
    for name, digest in found.files.items():
        assert sha256((released.run / "artefact" / name).read_bytes()) == digest
    assert set(found.files) == {p.name for p in (released.run / "artefact").iterdir()}
    assert (found.spec_digest, found.data_fingerprint) == (
        manifest.spec_digest,
        manifest.data_fingerprint,
    )
    assert found.evidence == sha256(to_json(released.record.evidence))
    assert found.bom == sha256((released.run / BOM).read_bytes())
    assert (found.model, found.run, found.verdict, found.parent) == (
        "shop", released.record.run, "pass", "",
    )  # fmt: skip
    assert any(line.startswith("lightgbm==") for line in found.lock)
    assert found.lock_digest == sha256("\n".join(found.lock).encode())
    assert not (released.run / SIGNATURE).exists()


def test_the_files_of_a_model_are_read_only(released: mw.Released) -> None:
    for path in (released.run / "artefact").iterdir():
        assert path.stat().st_mode & 0o777 == 0o444


def test_a_signed_model_is_loaded_and_promoted(signed: Path) -> None:
    assert mw.load("shop", folder=signed).folder.parent.parent.name == "runs"
    registry = mw.Registry(signed)
    registry.remove_alias("shop", "champion")
    assert mw.promote("shop", "1", folder=signed).version == "1"
    shutil.rmtree(run_of(signed))  # what the registry has was logged before it was signed
    with pytest.raises(ArtefactError, match="is not signed"):
        mw.load("shop", folder=signed)


def test_an_unsigned_model_is_refused_at_promote_and_at_load(
    project: Path, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = mw.Registry(project)
    assert mw.load("shop", folder=project)
    monkeypatch.setenv("MODELWRIGHT_TRUSTED_KEYS", str(keys["ours public"]))
    with pytest.raises(ArtefactError, match="is not signed"):
        mw.load("shop", folder=project)
    with pytest.raises(ArtefactError, match="is not signed"):
        mw.load(str(run_of(project) / "artefact"))
    registry.remove_alias("shop", "champion")
    with pytest.raises(ArtefactError, match="is not signed"):
        mw.promote("shop", "1", folder=project)
    assert registry.aliased("shop", "champion") is None


def unloadable(target: Path, source: Path) -> Path:
    """A copied model folder whose graph passes every look at its bytes, and which ONNX Runtime
    refuses: so an error of ONNX Runtime means that it saw the bytes."""
    copy = writable_copy(source, target)
    node = onnx.helper.make_node("Identity", ["nothing"], ["y"])
    value = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.DOUBLE, [None])
    made = onnx.helper.make_model(onnx.helper.make_graph([node], "g", [], [value]))
    replace_model(copy, made.SerializeToString())
    return copy


def test_what_nobody_trusted_signed_never_reaches_onnx_runtime(
    project: Path, tmp_path: Path, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At every door: the library, predict, check, serve, release and promote."""
    folder = unloadable(tmp_path / "foreign", run_of(project) / "artefact")
    (project / "rows.csv").write_text("colour\nred\n")
    doors: dict[str, Callable[[], object]] = {
        "load": lambda: mw.load(str(folder)),
        "predict": lambda: mw.predict_file(str(folder), "rows.csv", "out.csv", folder=project),
    }
    for door in doors.values():
        with pytest.raises(ArtefactError, match="ONNX Runtime cannot load"):
            door()
    doors["check"] = lambda: mw.check_against("rows.csv", str(folder), folder=project)
    doors["dashboard"] = lambda: mw.dashboard(str(folder), folder=project)
    assert doors["dashboard"]()  # these read the manifest alone
    monkeypatch.setenv("MODELWRIGHT_TRUSTED_KEYS", str(keys["ours public"]))
    for door in doors.values():
        with pytest.raises(ArtefactError, match="is not signed"):
            door()
    digest = sha256((folder / "manifest.json").read_bytes())
    with pytest.raises(ArtefactError, match="is not signed"):
        trust.load_trusted(folder, digest=digest, model="shop")
    command = [
        sys.executable, "-m", "modelwright.serve", "--artefact", str(folder), "--name", "shop",
        "--version", "1", "--port", "0",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 3 and "is not signed" in done.stderr
    assert "ONNX Runtime" not in done.stderr


def test_a_run_that_nobody_signed_is_not_loaded_to_be_released(
    project: Path, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_of(project)
    shutil.move(run / "artefact", run / "whole")
    digest = sha256((unloadable(run / "artefact", run / "whole") / "manifest.json").read_bytes())
    record = json.loads((run / "release.json").read_text()) | {"artefact": digest}
    (run / "release.json").write_text(json.dumps(record))
    monkeypatch.setenv("MODELWRIGHT_TRUSTED_KEYS", str(keys["ours public"]))
    with pytest.raises(ArtefactError, match="is not signed"):
        mw.release_run(run, allow=["limit"], why="a try", folder=project)


def test_the_thin_server_refuses_it_too(
    project: Path, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = run_of(project) / "artefact"
    command = [
        sys.executable, "-m", "modelwright.serve", "--artefact", str(folder), "--name", "shop",
        "--version", "1", "--port", "0",
    ]  # fmt: skip
    environment = {**os.environ, "MODELWRIGHT_TRUSTED_KEYS": str(keys["ours public"])}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 3 and "is not signed" in done.stderr


def test_a_server_without_keys_needs_no_cryptography() -> None:
    code = "import sys, modelwright.serve.server; print('cryptography' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_the_key_of_somebody_else_is_not_enough(
    signed: Path, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELWRIGHT_TRUSTED_KEYS", str(keys["theirs public"]))
    with pytest.raises(ArtefactError, match="which is not trusted here"):
        mw.load(str(run_of(signed) / "artefact"))
    both = f"{keys['theirs public'].parent}{os.pathsep}{keys['ours public'].parent}"
    monkeypatch.setenv("MODELWRIGHT_TRUSTED_KEYS", both)
    assert mw.load("shop", folder=signed)


@pytest.mark.parametrize("field", ["verdict", "evidence", "data_fingerprint"])
def test_a_changed_attestation_is_refused(signed: Path, field: str) -> None:
    run = run_of(signed)
    path = run / ATTESTATION
    document = json.loads(path.read_bytes())
    path.write_bytes(to_json({**document, field: "0" * 64}))
    with pytest.raises(ArtefactError, match="is not valid"):
        mw.load(str(run / "artefact"))


def test_a_signature_of_another_model_or_of_a_failed_one_is_no_signature(signed: Path) -> None:
    run = run_of(signed)
    digest = mw.Artefact.load(run / "artefact").digest
    with pytest.raises(ArtefactError, match="wanted other"):
        signing.verify(run / "artefact", digest, "other")
    with pytest.raises(ArtefactError, match="is for shop"):
        signing.verify(run / "artefact", "0" * 64, "shop")
    document = json.loads((run / ATTESTATION).read_bytes())
    (run / ATTESTATION).write_bytes(to_json({**document, "verdict": "fail"}))
    signing.sign(run)
    with pytest.raises(ArtefactError, match="did not pass its gates: 'fail'"):
        mw.load(str(run / "artefact"))


def test_a_key_that_others_can_read_is_refused(keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELWRIGHT_SIGNING_KEY", str(keys["ours"]))
    assert keys["ours"].stat().st_mode & 0o777 == 0o600
    keys["ours"].chmod(0o640)
    with pytest.raises(UsageError, match=r"mode 0640, wanted 0600"):
        signing.signing_key()


def test_the_command_makes_a_pair(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "modelwright", "keys", "new", "safe"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and "export MODELWRIGHT_TRUSTED_KEYS=safe" in done.stdout
    assert (tmp_path / "safe" / "signing-key.pem").stat().st_mode & 0o777 == 0o600
    again = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert again.returncode == 2 and "exists already" in again.stderr


def test_keys_are_never_overwritten(keys: Keys) -> None:
    with pytest.raises(UsageError, match="exists already"):
        mw.new_keys(keys["ours"].parent)


@pytest.mark.parametrize(
    ("variable", "content", "said"),
    [
        ("MODELWRIGHT_SIGNING_KEY", b"no key", "not a PEM private key"),
        ("MODELWRIGHT_SIGNING_KEY", None, "cannot be read"),
        ("MODELWRIGHT_TRUSTED_KEYS", b"no key", "not a PEM public key"),
        ("MODELWRIGHT_TRUSTED_KEYS", None, "cannot be read"),
    ],
)
def test_keys_that_cannot_be_used_are_said_before_the_search(
    shop: Path, variable: str, content: bytes | None, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = shop / "key.pem"
    if content is not None:
        path.write_bytes(content)
        path.chmod(0o600)
    monkeypatch.setenv(variable, str(path))
    with pytest.raises(UsageError, match=said):
        mw.run(shop / "modelwright.yaml", overrides=QUICK)
    assert not (shop / "runs").exists()


def test_settings_that_do_not_fit_together_are_said(
    keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELWRIGHT_TRUSTED_KEYS", str(keys["ours public"]))
    with pytest.raises(UsageError, match="cannot be released, and there is no MODELWRIGHT_SIGNING"):
        trust.check_keys()
    monkeypatch.setenv("MODELWRIGHT_SIGNING_KEY", str(keys["theirs"]))
    with pytest.raises(UsageError, match="is not among those of"):
        trust.check_keys()
    monkeypatch.setenv("MODELWRIGHT_TRUSTED_KEYS", str(keys["ours"].parent.parent))
    with pytest.raises(UsageError, match="names no public key"):
        trust.check_keys()


@pytest.mark.slow
def test_a_run_is_signed_measured_and_promoted(
    shop: Path, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELWRIGHT_SIGNING_KEY", str(keys["ours"]))
    monkeypatch.setenv("MODELWRIGHT_TRUSTED_KEYS", str(keys["ours public"]))
    found = mw.run(shop / "modelwright.yaml", overrides=QUICK)
    assert found.record.alias == "champion" and found.measured.latency_p95
    shutil.rmtree(shop / "runs")
    fetched = mw.load("shop", folder=shop)
    assert fetched.digest == found.record.artefact
    assert {p.name for p in fetched.folder.iterdir()} == {
        ATTESTATION, SIGNATURE, BOM, "golden.json", "manifest.json", "model.onnx", "spec.json",
    }  # fmt: skip
    assert mw.load(str(fetched.folder)).digest == fetched.digest
