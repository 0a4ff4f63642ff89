"""Runs training in several processes, as torchrun does, from a process that has imported everything once.

Started as a script it reads a request from each line of its input, and answers with a line: what each process returned,
or how it ended. `Launcher` asks it.
"""

import errno
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
Outcome = dict[str, Any]


class Launcher:
    """A process that forks those of each run, so that they need not import torch again."""

    def __init__(self, log: Path) -> None:
        self.log = log
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
        with log.open("w") as errors:
            self._process = subprocess.Popen(
                [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True,
                env=environment, start_new_session=True, cwd=HERE,
            )  # fmt: skip

    def __call__(self, task: str, processes: int = 2, env: Mapping[str, str] = {}, **given: Any) -> Outcome:
        """`ended`: what each process returned, by its number; or `failed`: the exit codes of those that failed first.

        `seconds` is the time until all of them were gone, from `marked` on where the task wrote such a file.
        """
        request = {"task": task, "processes": processes, "env": dict(env), "given": given}
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(request, default=str) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, self.log.read_text()[-3000:]
        outcome: Outcome = json.loads(line)
        return outcome

    def close(self) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.communicate()


def learn(policy: str, out: str, changes: dict[str, Any], fault: str | None = None, until: int | None = None) -> str:
    """Trains to the end or until a step, or says why it stopped."""
    from tiny_policy import recipe

    from profilegym.training.interruption import Stopped
    from profilegym.training.train import train

    _as_on_gpus()
    if fault is not None:
        FAULTS[fault](Path(out))

    def interrupt(step: int, metrics: Mapping[str, Any]) -> None:
        if step == until and "loss" in metrics:
            os.kill(os.getpid(), signal.SIGTERM)

    try:
        train(recipe(Path(policy), **changes), Path(out), interrupt)
    except Stopped as error:
        return str(error)
    return "done"


def command(recipe: str, changes: list[str], out: str) -> str:
    """`profilegym train`."""
    from profilegym.apps.train import run_train

    run_train(recipe, changes, Path(out), dry_run=False)
    return "done"


def make_policy(folder: str) -> str:
    from tiny_policy import make_tiny_policy

    return str(make_tiny_policy(Path(folder)))


def environment(config: str) -> str:
    """What `accelerate launch` sets by a configuration file."""
    from accelerate.commands.launch import _validate_launch_command, launch_command_parser
    from accelerate.utils.launch import prepare_multi_gpu_env

    given = launch_command_parser().parse_args(["--config_file", config, "train.py"])
    args, _, _ = _validate_launch_command(given)
    set_here = prepare_multi_gpu_env(args)
    return json.dumps({name: value for name, value in set_here.items() if name.startswith(("ACCELERATE_", "FSDP_"))})


def _on_last_rank(at: int, do: Callable[[Path], None]) -> Callable[[Path], None]:
    """As the last process is about to record an episode of the step with number `at`."""

    def patch(out: Path) -> None:
        from profilegym.envs.trajectory import Trajectory, TrajectoryWriter

        plain = TrajectoryWriter.write

        def write(self: TrajectoryWriter, trajectory: Trajectory) -> None:
            step = int(trajectory.id.rpartition(":")[2].partition("-")[0])
            if step == at and Path(self._file.name).parent == out and not (out / "marked").exists():
                (out / "marked").touch()
                do(out)
            plain(self, trajectory)

        if os.environ["RANK"] == "1":
            setattr(TrajectoryWriter, "write", write)  # noqa: B010

    return patch


def _full_disk(out: Path) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def _collapse(out: Path) -> None:
    """The first process sees one after the second step."""
    from profilegym.training.grpo.callbacks import CollapseWatch

    seen = property(lambda self: ["score"] if os.environ["RANK"] == "0" and len(self._metrics) > 1 else [])
    setattr(CollapseWatch, "collapsed", seen)  # noqa: B010


def _without_nccl(out: Path) -> None:
    """All weights are collected as to be sent, and sent to nobody."""
    from trl.experimental.async_grpo import async_grpo_trainer

    class Nobody:
        def __init__(self, **_: Any) -> None: ...
        def init_weight_transfer(self) -> None: ...
        def pause(self) -> None: ...
        def resume(self) -> None: ...
        def destroy(self) -> None: ...

        def send_weights(self, weights: Iterator[tuple[str, Any]]) -> None:
            list(weights)

    setattr(async_grpo_trainer, "WeightTransferClient", Nobody)  # noqa: B010


FAULTS: Mapping[str, Callable[[Path], None]] = {
    "full disk": _on_last_rank(1, _full_disk),
    "SIGTERM": _on_last_rank(1, lambda out: os.kill(os.getpid(), signal.SIGTERM)),
    "SIGKILL": _on_last_rank(1, lambda out: os.kill(os.getpid(), signal.SIGKILL)),
    "collapse": _collapse,
    "no NCCL": _without_nccl,
}
TASKS: Mapping[str, Callable[..., str]] = {
    "learn": learn, "command": command, "make_policy": make_policy, "environment": environment,
}  # fmt: skip


def _as_on_gpus() -> None:
    """Accelerate shards weights on GPUs alone: that the processes have none must not matter to it."""
    from accelerate.state import AcceleratorState
    from accelerate.utils import DistributedType

    plain = AcceleratorState.__init__

    def init(self: Any, *args: Any, fsdp_plugin: Any = None, **options: Any) -> None:
        plain(self, *args, fsdp_plugin=fsdp_plugin, **options)
        plugin = fsdp_plugin or vars(self).get("fsdp_plugin")  # of the first of several calls
        if plugin is not None and self.distributed_type is DistributedType.MULTI_CPU:
            self.distributed_type, self.fsdp_plugin = DistributedType.FSDP, plugin

    setattr(AcceleratorState, "__init__", init)  # noqa: B010


def _launched(task: Callable[..., str], processes: int, given: dict[str, Any]) -> Outcome:
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, Std
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    logs = DefaultLogsSpecs(log_dir=tempfile.mkdtemp(), redirects=Std.OUT)  # the answers are written to it here
    launched = LaunchConfig(
        1, 1, processes, run_id=str(time.time_ns()), rdzv_backend="c10d", rdzv_endpoint="localhost:0",
        start_method="fork", max_restarts=0, logs_specs=logs,
    )  # fmt: skip
    try:
        return {"ended": elastic_launch(launched, _task)(task, given)}
    except ChildFailedError as error:
        return {"failed": {rank: failure.exitcode for rank, failure in error.failures.items()}}


def _task(task: Callable[..., str], given: dict[str, Any]) -> str:
    os.environ["OMP_NUM_THREADS"] = "1"
    return task(**given)


@contextmanager
def _environment(more: Mapping[str, str]) -> Iterator[None]:
    os.environ.update(more)
    try:
        yield
    finally:
        for name in more:
            del os.environ[name]


def main() -> None:
    import profilegym.training.grpo.async_trainer
    import profilegym.training.grpo.trainer
    import profilegym.training.train  # noqa: F401 (imported before the processes are forked)

    for line in sys.stdin:
        asked = json.loads(line)
        task, given = TASKS[asked["task"]], asked["given"]
        start = time.time()
        with _environment(asked["env"]):
            outcome: Outcome
            if asked["processes"] == 1:
                outcome = {"ended": {0: _forked(task, given)}}
            else:
                outcome = _launched(task, asked["processes"], given)
        marked = Path(given.get("out", "")) / "marked"
        outcome["seconds"] = time.time() - (marked.stat().st_mtime if marked.exists() else start)
        print(json.dumps(outcome), flush=True)


def _forked(task: Callable[..., str], given: dict[str, Any]) -> str | None:
    """In a process of its own without a launcher."""
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    with ProcessPoolExecutor(1, mp_context=get_context("fork")) as pool:
        return pool.submit(task, **given).result()


if __name__ == "__main__":
    main()
