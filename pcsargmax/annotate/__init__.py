"""Annotating scans: a session without a window, the scans that a ray of sight meets, the files that train reads."""

from pcsargmax.annotate.keypointnet_store import KeypointNetStore
from pcsargmax.annotate.ledger import Store
from pcsargmax.annotate.marks import ABSENT, Mark, Proposal
from pcsargmax.annotate.scan import Scan
from pcsargmax.annotate.session import Session
from pcsargmax.annotate.slicer_store import SlicerStore

__all__ = ["ABSENT", "KeypointNetStore", "Mark", "Proposal", "Scan", "Session", "SlicerStore", "Store"]
