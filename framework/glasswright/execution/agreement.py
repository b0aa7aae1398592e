"""Whether the processes of a run were asked for the same."""

from collections.abc import Iterator, Mapping

from .._errors import RequestError
from .hosts import exchange
from .peers import AbstractPeers

# Further keys that a message names, and characters of a value that it shows.
NAMED, LONGEST = 3, 60
SEPARATELY = (
    "to run them separately, set GLASSWRIGHT_HOSTS=off, or start each by `srun --ntasks=1 --exact` or in an sbatch "
    "array, or all of them by --multirun"
)


def check_same_request(peers: AbstractPeers, request: Mapping[str, object]) -> None:
    """Refuse, in every process, processes whose requests differ. All of them have to call it.

    **Arguments:**

    - `request`: plain data, in the order in which it is to be compared.
    """
    if peers.count == 1:
        return
    requests = exchange({peers.rank: request})
    for rank in range(1, peers.count):
        different = list(differences(requests[0], requests[rank]))
        if different:
            (key, first, other), *further = different
            names = ", ".join([name for name, *_ in further[:NAMED]] + ["…"] * (len(further) > NAMED))
            also = f" (also different: {names})" if further else ""
            raise RequestError(
                f"{key}: {first} in process 0, {other} in process {rank} of {peers.count}{also}: "
                f"the processes of one run divide its work and must be asked for the same; {SEPARATELY}"
            )


def differences(first: object, other: object, key: str = "") -> Iterator[tuple[str, str, str]]:
    """Where plain data differ: the dotted key and the two values."""
    if isinstance(first, Mapping) and isinstance(other, Mapping):
        for name in dict.fromkeys([*first, *other]):
            path = f"{key}.{name}" if key else str(name)
            if name in first and name in other:
                yield from differences(first[name], other[name], path)
            else:
                yield path, _text(first.get(name, "not given")), _text(other.get(name, "not given"))
    # As text: 1, 1.0 and true are different requests, and not-a-number equals itself.
    elif repr(first) != repr(other):
        yield key, _text(first), _text(other)


def _text(value: object) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
