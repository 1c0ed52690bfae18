"""An approver's keys: made by a person, known by the policy file, opened with a passphrase."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
from pathlib import Path

import pytest

import killed
from approving import AGENT, approver
from modelwright.core.errors import Refused, SpecError, UsageError
from modelwright.core.policy import read_policy
from modelwright.core.principal import acting_as
from modelwright.release.approvals import Requests
from modelwright.release.approver_keys import add_approver, as_text, load, name_of, new_approver

POLICY = """\
# what agents may do here
agents:
  promote: ask   # a person looks
  gc: "never"

approvers: {}  # see the wiki
budget: {trials: 100}
"""


def project_in(folder: Path, text: str = "") -> Path:
    made = folder / "project"
    made.mkdir()
    if text:
        (made / "modelwright.policy.yaml").write_text(text)
    return made


def at_a_terminal(folder: Path, words: list[str], *answers: str) -> tuple[int, str]:
    """Run modelwright at a real terminal, and type."""
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(folder)
        os.execv(sys.executable, [sys.executable, "-m", "modelwright", *words])
    said, left = "", list(answers)
    while True:
        ready, _, _ = select.select([terminal], [], [], 60)
        assert ready, said
        try:
            part = os.read(terminal, 4096).decode()
        except OSError:  # it has ended
            break
        if not part:
            break
        said += part
        if left and said.rstrip().endswith(":"):
            os.write(terminal, f"{left.pop(0)}\n".encode())
            said += "\n.\n"
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), said


def test_the_policy_file_keeps_its_comments(tmp_path: Path) -> None:
    project = project_in(tmp_path, POLICY)
    key = approver(project)
    text = (project / "modelwright.policy.yaml").read_text()
    public = as_text(load(key).public_key())
    written = [line.split() for line in text.splitlines()]
    wanted = POLICY.replace(
        "approvers: {}  # see the wiki", f"approvers: # see the wiki\nada: {public}"
    )
    assert written == [line.split() for line in wanted.splitlines()]
    second = approver(project, "bo")
    policy = read_policy(project)
    assert list(policy.approvers) == ["ada", "bo"] and policy.agents.gc == "never"
    assert name_of(load(second), policy.approvers) == "bo"
    assert (key.stat().st_mode & 0o777) == 0o600


@pytest.mark.parametrize("text", ["", "# only words\n", "# no end", "budget: {}\n"])
def test_policy_files_without_approvers(tmp_path: Path, text: str) -> None:
    project = project_in(tmp_path, text)
    approver(project)
    found = (project / "modelwright.policy.yaml").read_text()
    assert list(read_policy(project).approvers) == ["ada"]
    assert found.startswith(text.strip() if text.startswith("#") else "")


def test_who_cannot_become_an_approver(tmp_path: Path) -> None:
    project = project_in(tmp_path)
    with acting_as(AGENT), pytest.raises(Refused, match="only a person can add an approver"):
        approver(project)
    with pytest.raises(UsageError, match="cannot be an approver's name"):
        approver(project, "a: b")
    with pytest.raises(UsageError, match="inside the project, where agents can read it"):
        new_approver(project / "keys", "ada", project=project, passphrase=False)
    approver(project)
    with pytest.raises(UsageError, match="has an approver ada already"):
        new_approver(tmp_path / "more", "ada", project=project, passphrase=False)
    assert not (tmp_path / "more").exists()
    (project / "modelwright.policy.yaml").write_text("agents: {promot: ask}\n")
    with pytest.raises(SpecError, match="did you mean 'promote'"):
        new_approver(tmp_path / "more", "bo", project=project, passphrase=False)
    assert not (tmp_path / "more").exists()


def test_keys_that_cannot_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = approver(project_in(tmp_path))
    monkeypatch.delenv("MODELWRIGHT_APPROVER_KEY", raising=False)
    with pytest.raises(UsageError, match="Approving needs an approver's key"):
        load(None)
    monkeypatch.setenv("MODELWRIGHT_APPROVER_KEY", str(key))
    assert load(None)
    with pytest.raises(UsageError, match="cannot be read"):
        load(tmp_path / "none.pem")
    key.chmod(0o644)
    with pytest.raises(UsageError, match="can be used by others"):
        load(key)


@pytest.mark.slow
def test_a_passphrase_is_asked_for_at_a_terminal_only(tmp_path: Path) -> None:
    project = project_in(tmp_path)
    words = ["keys", "approver", "../keys", "--name", "ada"]
    done = subprocess.run(
        [sys.executable, "-m", "modelwright", *words], cwd=project, capture_output=True, text=True,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 2 and "--no-passphrase" in done.stderr
    code, said = at_a_terminal(project, words, "open sesame", "open sesam")
    assert code == 2 and "The two passphrases differ" in said
    code, said = at_a_terminal(project, words, "open sesame", "open sesame")
    assert code == 0 and "ada is an approver now" in said, said
    assert "open sesame" not in said
    with acting_as(AGENT):
        Requests(project).ask(
            "gc", {"apply": True}, model="", version="", why="", champion="", evidence={}
        )
    approve = ["approve", "PR-1", "--key", "../keys/approver-ada.pem"]
    done = subprocess.run(
        [sys.executable, "-m", "modelwright", *approve], cwd=project, capture_output=True,
        text=True, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 2 and "has a passphrase, and there is no terminal" in done.stderr
    code, said = at_a_terminal(project, approve, "wrong")
    assert code == 2 and "The passphrase does not open" in said
    code, said = at_a_terminal(project, approve, "open sesame")
    assert code == 0 and "is applied" in said, said


def add_bo(folder: Path) -> object:
    add_approver(folder, "bo", "ed25519:AAAA")
    return None


def test_the_policy_file_is_the_old_or_the_new_one(tmp_path: Path) -> None:
    project = project_in(tmp_path, POLICY)
    for step in range(1, 20):
        folder = killed.copied(project, tmp_path / f"copy{step}")
        died = killed.killed_at(step, add_bo, folder)
        text = (folder / "modelwright.policy.yaml").read_text()
        assert text == POLICY or list(read_policy(folder).approvers) == ["bo"], died
        if not died:
            break
    assert step > 2
