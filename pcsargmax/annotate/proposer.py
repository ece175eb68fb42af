"""Asks a model for proposals, one scan after another in another thread."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from pcsargmax.annotate.marks import Proposal
from pcsargmax.annotate.scan import Scan
from pcsargmax.predictions.cloud import Prediction


class Proposer:
    """Predicts each scan once.

    Args:
        predict: of a file; None: nothing is ever proposed.
    """

    def __init__(self, predict: Callable[[Path], Prediction] | None) -> None:
        self._predict = predict
        self._futures: dict[Path, Future[Prediction]] = {}
        self._taken: set[Path] = set()
        self._worker = ThreadPoolExecutor(max_workers=1)

    def __bool__(self) -> bool:
        """Whether there can be any proposals."""
        return self._predict is not None

    def ask(self, path: Path) -> None:
        """Begin to predict a scan, unless that was done before."""
        if self._predict is not None and path not in self._futures:
            self._futures[path] = self._worker.submit(self._predict, path)

    def waiting(self, path: Path) -> bool:
        """Whether proposals for a scan were asked for and not taken yet."""
        return path in self._futures and path not in self._taken

    def take(self, scan: Scan) -> dict[str, Proposal] | None:
        """The proposals for a scan, once: None before they are there, and afterwards.

        Raises:
            ValueError: the prediction failed, saying how.
        """
        if not self.waiting(scan.path) or not self._futures[scan.path].done():
            return None
        self._taken.add(scan.path)
        try:
            return scan.proposals(self._futures[scan.path].result())
        except Exception as error:  # whatever the model runs into, the landmarks are not to go with it
            raise ValueError(f"no proposals: {error}") from error

    def close(self) -> None:
        """Ask no more."""
        self._worker.shutdown(wait=False, cancel_futures=True)
