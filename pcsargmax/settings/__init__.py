"""What a run is trained with: one frozen dataclass per kind of run, saved as JSON."""
