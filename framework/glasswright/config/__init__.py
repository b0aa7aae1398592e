"""Hydra and OmegaConf, which nothing else imports: from overrides to a checked configuration and its objects."""
