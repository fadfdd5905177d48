"""`cutaway circuits explore`: one line with the address, a page there, and a clean end."""

import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request

import pytest

from cutaway.cli import run

from .explore_scenes import planted_setup


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    planted_setup(folder)
    return folder


def test_a_page_until_ctrl_c(folder):
    words = [sys.executable, "-m", "cutaway", "circuits", "explore", str(folder), "--no-open", "--port", "0"]
    job = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        line = job.stdout.readline()
        address = re.fullmatch(
            r"Explore acronyms in planted:acronyms@0: (http://127\.0\.0\.1:\d+/) \(Ctrl-C ends it\)\n", line
        )[1]
        with urllib.request.urlopen(address, timeout=20) as answer:
            assert b"planted:acronyms@0" in answer.read()
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(urllib.request.Request(address, headers={"host": "evil.example"}), timeout=20)
        job.send_signal(signal.SIGINT)
        printed, error = job.communicate(timeout=20)
    finally:
        job.kill()
    assert job.returncode == 130
    assert printed == ""
    assert error.strip().splitlines()[-1].startswith("cutaway: stopped")
    assert "GET /" not in error
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere"], "nowhere"),
        (["{folder}", "--port", "99999"], "65535"),
        (["{folder}", "--host", "no.such.host.invalid"], "--host"),
        (["{folder}", "--model", "planted:acronym"], "did you mean planted:acronyms"),
    ],
)
def test_every_mistake_is_one_line(capsys, folder, words, said):
    assert run(["circuits", "explore", "--no-open", *(word.format(folder=folder) for word in words)]) == 1
    complaints = [line for line in capsys.readouterr().err.splitlines() if line.startswith("cutaway: ")]
    assert len(complaints) == 1
    assert said in complaints[0]
