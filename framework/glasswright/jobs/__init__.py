"""The work itself: training, validating, measuring and analysing, without Hydra."""
