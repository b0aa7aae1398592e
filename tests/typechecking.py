"""The type checker of the test session, named in `--jaxtyping-packages` (pyproject.toml)."""

from beartype import BeartypeConf, beartype

# As for mypy, an int is accepted where a float is announced.
checked = beartype(conf=BeartypeConf(is_pep484_tower=True))
