"""From overrides to a checked configuration and its objects.

No other room imports Hydra or OmegaConf, except for `cli.application`, which starts the jobs.
"""
