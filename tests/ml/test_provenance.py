import hashlib
import subprocess

import pytest
import torch

from ml import provenance


@pytest.mark.parametrize(("changes", "dirty"), [("", False), (" M ml/train.py", True)])
def test_the_commit_is_recorded_and_whether_files_differ_from_it(monkeypatch, changes, dirty):
    answers = {"status": changes, "rev-parse": "abc123"}
    monkeypatch.setattr(provenance, "_git", lambda word, *_: answers[word])
    assert provenance.code_state() == {"commit": "abc123", "dirty": dirty}


def test_without_git_the_commit_is_unknown(monkeypatch):
    def no_git(*_arguments, **_options):
        raise FileNotFoundError("git")

    monkeypatch.setattr(subprocess, "run", no_git)
    assert provenance.code_state() == {"commit": "unknown", "dirty": None}


def test_a_file_is_named_by_the_sha256_of_its_bytes(tmp_path):
    path = tmp_path / "weights"
    path.write_bytes(b"some weights")
    assert provenance.sha256_of(path) == hashlib.sha256(b"some weights").hexdigest()


def test_a_command_can_be_pasted_into_a_shell(monkeypatch):
    monkeypatch.setattr("sys.argv", ["train.py", "--out", "my runs"])
    assert provenance.command_line("ml.train") == "python -m ml.train --out 'my runs'"


def test_the_device_is_named_with_its_threads():
    assert provenance.device_name(torch.device("cpu")).endswith("threads")
