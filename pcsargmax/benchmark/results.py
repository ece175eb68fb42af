"""The result of one experiment: a small JSON file, from which every table can be made again."""

from __future__ import annotations

import json
import platform
import subprocess
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pcsargmax.benchmark.experiments import Experiment, differing

#: Raised when what a result holds changes.
RESULT_VERSION = 1

_FIELDS: dict[str, type | tuple[type, ...]] = {
    "version": int,
    "kind": str,
    "data": str,
    "method": str,
    "seed": int,
    "settings": dict,
    "data_hash": (str, type(None)),
    "commit": (str, type(None)),
    "versions": dict,
    "machine": dict,
    "finished": str,
    "seconds": dict,
    "metrics": dict,
}


class BrokenResult(ValueError):
    """A file that is no result: cut off, of another version, or without what a result holds."""


def make_result(
    experiment: Experiment,
    metrics: dict[str, Any],
    seconds: dict[str, float | None],
    machine: dict[str, Any],
    commit: str | None,
) -> dict[str, Any]:
    """The result of an experiment that has ended now.

    Args:
        experiment: what was run.
        metrics: what `evaluate` returned; its own settings and path of the data are left out.
        seconds: "train" and "evaluate"; None where it is not known.
        machine: what `machine` returns.
        commit: what `commit` returned in each sitting; None where it is not known what trained.

    Returns:
        JSON-able: "version", "kind", "data", "method", "seed", "settings" (that count), "data_hash" (see
        `sources.data_hash`; missing in older results), "commit" (several with commas between, if the code changed
        between sittings), "versions", "machine", "finished" (UTC), "seconds", "metrics".
    """
    kept = {name: value for name, value in metrics.items() if name != "settings"}
    return {
        "version": RESULT_VERSION,
        "kind": experiment.kind,
        "data": experiment.data,
        "method": experiment.method,
        "seed": experiment.seed,
        "settings": experiment.counted,
        "data_hash": experiment.data_hash,
        "commit": commit,
        "versions": _versions(),
        "machine": machine,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": {name: None if value is None else round(value, 1) for name, value in seconds.items()},
        "metrics": kept | {"data": experiment.data},
    }


def write_result(file: str | Path, result: dict[str, Any]) -> None:
    """Write a result, whole or not at all; one line for each of its fields."""
    from pcsargmax.io.atomic import atomic_path

    def compact(value: Any) -> str:
        return json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))

    lines = ",\n".join(f"{compact(name)}:{compact(value)}" for name, value in result.items())
    with atomic_path(file) as temporary:
        temporary.write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")


def read_result(file: str | Path) -> dict[str, Any]:
    """Read a result.

    Raises:
        BrokenResult: naming the file and what is wrong with it.
        OSError: it cannot be read.
    """
    try:
        content = json.loads(Path(file).read_text(encoding="utf-8"))
    except ValueError as error:
        raise BrokenResult(f"{file}: not a result: {error}") from None
    if not isinstance(content, dict):
        raise BrokenResult(f"{file}: not a result: expected an object, got {type(content).__name__}")
    if content.get("version") != RESULT_VERSION:
        raise BrokenResult(
            f"{file}: a result of version {content.get('version')!r}, this pcsargmax reads version {RESULT_VERSION}"
        )
    content.setdefault("data_hash", None)
    for name, kind in _FIELDS.items():
        if name not in content or not isinstance(content[name], kind):
            raise BrokenResult(f"{file}: not a result: {name} is missing or of another type")
    return content


def read_results(paths: Iterable[str | Path]) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Read result files, and those of folders in the order of their names; hidden files are passed over.

    Raises:
        BrokenResult: as `read_result`; it says what to do.
        FileNotFoundError: no such file or folder.
    """
    for path in map(Path, paths):
        if not path.exists():
            raise FileNotFoundError(f"{path}: no such file or folder")
        files = sorted(path.glob("*.json")) if path.is_dir() else [path]
        for file in files:
            if not file.name.startswith("."):  # one that is being written, or whose writer was killed
                try:
                    yield file, read_result(file)
                except BrokenResult as error:
                    raise BrokenResult(
                        f"{error}; move it away, or name the result files in place of a folder"
                    ) from None


def kept_result(file: str | Path, experiment: Experiment) -> dict[str, Any] | None:
    """The result of an experiment, None where there is none yet.

    Raises:
        BrokenResult: what is there is no result.
        ValueError: it is one of other settings or data.
    """
    if not Path(file).is_file():
        return None
    result = read_result(file)
    names = ("kind", "data", "method", "seed", "data_hash")
    told = result["settings"] | {name: result[name] for name in names}
    wanted = experiment.counted | {name: getattr(experiment, name) for name in names}
    if changed := differing(told, wanted):
        raise ValueError(f"{file}: a result of other settings, move it away to run anew: {'; '.join(changed)}")
    return result


def commit() -> str | None:
    """The git commit of the package, with "+changed" where files of it differ; None where it is not in a repository."""
    package = Path(__file__).parents[1]

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(package), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", "__init__.py")  # not merely installed below some other repository
        changed = git("status", "--porcelain", "--", ".")
        return git("rev-parse", "HEAD") + ("+changed" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return None


def machine(threads: int, device: str) -> dict[str, Any]:
    """What a run ran on: "cpu" (model), "threads" and "device" (cpu, or the name of the GPU)."""
    import torch

    place = torch.device(device)
    name = torch.cuda.get_device_name(place) if place.type == "cuda" else place.type
    return {"cpu": _cpu_model(), "threads": threads, "device": name}


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _versions() -> dict[str, str | None]:
    import torch

    try:
        own: str | None = version("pcsargmax")
    except PackageNotFoundError:
        own = None
    return {"pcsargmax": own, "torch": str(torch.__version__)}
