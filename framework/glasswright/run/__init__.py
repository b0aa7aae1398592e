"""The run directory: its files, checkpoints, packings, provenance, and the progress of a run."""
