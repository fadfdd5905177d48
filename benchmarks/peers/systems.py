"""The systems compared: where each lives, what is installed there, and a process of it to talk to.

Every peer has an environment of its own, made once under the cache folder and kept while its requirements stay the same:
two versions of a library cannot share one, and none of them may touch the environment that cutaway is tested in.
"""

import json
import os
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
TORCH = "torch==2.13.0"


@dataclass(frozen=True)
class System:
    """`requirements` are what pip is given; none means this very environment."""

    name: str
    script: str
    requirements: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    counted: bool = True
    """Is it one of the peers that the targets are about?"""


CUTAWAY = System("cutaway", "with_cutaway.py")
PEERS = (
    # numpy 1 is what this release asks for; pyarrow 22 and later ask for numpy 2
    System("TransformerLens 2.18", "with_transformer_lens.py", (TORCH, "transformer_lens==2.18.0", "pyarrow<22")),
    System("TransformerLens 4", "with_bridge.py", (TORCH, "transformer_lens>=4,<5")),
    System("nnsight 0.8", "with_nnsight.py", (TORCH, "nnsight>=0.8,<0.9", "transformers>=5,<6")),
    System("PyTorch hooks", "with_hooks.py", (TORCH, "transformers>=5,<6")),
    System("PyTorch hooks, trimmed", "with_hooks.py", (TORCH, "transformers>=5,<6"), ("--trimmed",), counted=False),
)


def python_of(system: System, cache: Path) -> str:
    """The interpreter of a system's environment, which is made if it is not there.

    Raises:
        SystemExit: pip could not install it.
    """
    if not system.requirements:
        return sys.executable
    folder = cache / "environments" / Path(system.script).stem
    stamp, wanted = folder / "requirements.txt", "\n".join(system.requirements) + "\n"
    python = folder / "bin" / "python"
    if not stamp.exists() or stamp.read_text() != wanted:
        print(f"installing {', '.join(system.requirements)} into {folder}", file=sys.stderr)
        venv.create(folder, clear=True, with_pip=True)
        done = subprocess.run(
            [python, "-m", "pip", "install", "--quiet", *system.requirements],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SystemExit(f"pip failed for {system.name}: {done.stderr.strip().splitlines()[-1]}")
        stamp.write_text(wanted)
    return str(python)


QUIET = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(2**30), "MALLOC_TRIM_THRESHOLD_": str(2**31 - 1)}
"""Freed memory stays with the process, for every system alike, as cutaway's command line has it: no page faults are timed."""


class Worker:
    """A process of one system with one model loaded. Once it has failed it stays silent: `failed` says why."""

    def __init__(self, system: System, python: str, arguments: list[str], *, threads: int, log: Path):
        self.system, self.log, self.failed = system, log, None
        self.process = subprocess.Popen(
            [python, str(HERE / system.script), *arguments, *system.options],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log.open("w"), text=True,
            env=os.environ | QUIET | KEEP_MEMORY | {"OMP_NUM_THREADS": str(threads)},
        )  # fmt: skip
        self.about = self._answer()

    def ask(self, **job) -> dict:
        """The answer to a job; `{"failed": why}` if there is none."""
        if self.failed:
            return {"failed": self.failed}
        try:
            self.process.stdin.write(json.dumps(job) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # the silence that follows says more
        return self._answer()

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()

    def _answer(self) -> dict:
        line = self.process.stdout.readline()
        if line:
            answer = json.loads(line)
        else:
            said = self.log.read_text().strip().splitlines() or ["no word"]
            answer = {"failed": f"the process ended: {said[-1][:300]}"}
        self.failed = self.failed or answer.get("failed")
        return answer
