"""Pictures of runs, packings and analyses."""
