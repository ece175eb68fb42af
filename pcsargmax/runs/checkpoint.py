"""Checkpoints, from which runs are opened."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import torch

#: Raised when what a checkpoint holds changes.
CHECKPOINT_VERSION = 2


class Checkpoint(NamedTuple):
    """The content of a checkpoint file.

    Attributes:
        folder: of the run.
        file: that was read.
        metadata: plain values, from which a run is opened.
        weights: of the module, by name.
    """

    folder: Path
    file: Path
    metadata: dict[str, Any]
    weights: dict[str, torch.Tensor]

    def weights_of(self, part: str) -> dict[str, torch.Tensor]:
        """Return the weights of a part of the module, by their names in it."""
        prefix = f"{part}."
        return {name.removeprefix(prefix): w for name, w in self.weights.items() if name.startswith(prefix)}


def open_checkpoint(path: str | Path, checkpoint: str = "best") -> Checkpoint:
    """Read a run folder's checkpoint, or the file itself; nothing in it is executed.

    Raises:
        FileNotFoundError: no checkpoint there.
        ValueError: not a pcsargmax checkpoint, or one of another version.
    """
    file = find_checkpoint(path, checkpoint)
    content = read_checkpoint(file)
    return Checkpoint(_folder_of(Path(path)), file, content["pcsargmax"], content["state_dict"])


def find_checkpoint(path: str | Path, checkpoint: str = "best") -> Path:
    """Return a run folder's checkpoint file, the last one where there is no best one, or the file itself.

    Raises:
        FileNotFoundError: no checkpoint there.
    """
    if checkpoint not in ("best", "last"):
        raise ValueError(f"checkpoint must be best or last, got {checkpoint!r}")
    path = Path(path)
    file = path if path.is_file() else path / "checkpoints" / f"{checkpoint}.ckpt"
    if not path.is_file() and checkpoint == "best" and not file.is_file():
        file = path / "checkpoints" / "last.ckpt"
    if not file.is_file():
        raise FileNotFoundError(f"{path}: no run there; looked for {file}")
    return file


def read_checkpoint(file: Path) -> dict[str, Any]:
    """Return the content of a checkpoint file of this version."""
    import torch

    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # the reader raises whatever a broken file runs it into
        if isinstance(error, OSError) and error.filename is not None:
            raise  # the file cannot be opened; one that is cut off gives an OSError that names none
        raise ValueError(
            f"{file}: not a checkpoint, cut off, or one that would run code when it is loaded; nothing in it was run"
        ) from error
    metadata = content.get("pcsargmax") if isinstance(content, dict) else None
    if not isinstance(metadata, dict) or "state_dict" not in content:
        raise ValueError(f"{file}: not a pcsargmax checkpoint")
    version = metadata.get("version")
    if version != CHECKPOINT_VERSION:
        raise ValueError(f"{file}: checkpoint version {version}, this pcsargmax reads version {CHECKPOINT_VERSION}")
    return content


def _folder_of(path: Path) -> Path:
    if path.is_dir():
        return path
    return path.parent.parent if path.parent.name == "checkpoints" else path.parent
