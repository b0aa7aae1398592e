"""Claims of a publication, and how they are compared with what was measured."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

Verdict = Literal["agrees", "disagrees", "undecided"]

# A mean agrees within this many standard errors of the difference, and disagrees beyond the second number.
AGREES, DISAGREES = 2.0, 3.0
CONFIDENCE = 0.95


@dataclasses.dataclass(frozen=True)
class Claim:
    """What was published, and what the runs say about it.

    **Attributes:**

    - `claim`: in words.
    - `published`, `source`: the number or the statement, and where it stands.
    - `measured`, `error`, `n`: what was found, its standard error, and from how many runs or packings.
    - `verdict`, `reason`: whether they agree, and why that is said.
    """

    claim: str
    published: float | str
    source: str
    measured: float | None
    error: float | None
    n: int
    verdict: Verdict
    reason: str


def compare(
    claim: str,
    published: float,
    source: str,
    measured: float | None,
    error: float | None,
    n: int,
    *,
    published_error: float = 0.0,
    resolution: float | None = None,
) -> Claim:
    """A claim about a number: it agrees within two standard errors of the difference.

    **Arguments:**

    - `resolution`: the largest standard error with which anything can be decided; None sets no limit.
    """
    if measured is None or error is None or not math.isfinite(measured):
        return Claim(claim, published, source, measured, error, n, "undecided", "too few runs for a standard error")
    if resolution is not None and error > resolution:
        reason = f"the standard error {error:.2g} is larger than {resolution:g}"
        return Claim(claim, published, source, measured, error, n, "undecided", reason)
    spread = math.hypot(error, published_error)
    distance = abs(measured - published) / spread if spread > 0.0 else (0.0 if measured == published else math.inf)
    verdict: Verdict = "agrees" if distance <= AGREES else "disagrees"
    return Claim(claim, published, source, measured, error, n, verdict, f"{distance:.2g} standard errors apart")


def compare_mean(
    claim: str,
    source: str,
    values: Sequence[float],
    published: float,
    *,
    tolerance: float,
    published_error: float = 0.0,
    requested: int | None = None,
) -> Claim:
    """Compare the mean of independent values with a published one.

    They agree if they differ by less than `tolerance`, the precision of the statement, or by two standard errors of the
    difference. They disagree if they differ by more than `tolerance` and by three standard errors. A standard error
    larger than the tolerance decides nothing.

    **Arguments:**

    - `values`: of the accepted packings or runs.
    - `tolerance`: to which precision the statement is meant.
    - `published_error`: the standard error of the published value.
    - `requested`: how many values were asked for, to count those that are missing.
    """
    n = len(values)
    missing = "" if requested is None or requested == n else f"; {requested - n} of {requested} have no value"
    if n < 2:
        return Claim(claim, published, source, values[0] if n else None, None, n, "undecided", f"{n} values{missing}")
    mean, error = float(np.mean(values)), float(np.std(values, ddof=1) / math.sqrt(n))
    difference, width = abs(mean - published), math.hypot(error, published_error)
    facts = f"{mean:.4g} ± {error:.2g} against {published:.4g}"
    if published_error:
        facts += f" ± {published_error:.2g}"
    verdict: Verdict
    if difference <= tolerance and error <= tolerance:
        verdict, reason = "agrees", f"{facts}: closer than {tolerance:g}"
    elif difference > tolerance and difference > DISAGREES * width:
        verdict, reason = "disagrees", f"{facts}: {difference / width:.1f} standard errors apart"
    elif difference <= AGREES * width and error <= tolerance:
        verdict, reason = "agrees", f"{facts}: {difference / width:.1f} standard errors apart"
    else:
        verdict, reason = "undecided", f"{facts}: more values are needed for a precision of {tolerance:g}"
    return Claim(claim, published, source, mean, error, n, verdict, reason + missing)


def compare_bound(
    claim: str,
    source: str,
    measured: float | None,
    published: str,
    *,
    upper: float = math.inf,
    lower: float = -math.inf,
    error: float | None = None,
    n: int = 1,
) -> Claim:
    """Compare a measured number with published bounds; within two standard errors of one, nothing is decided."""
    if measured is None or not math.isfinite(measured):
        return Claim(claim, published, source, None, error, n, "undecided", "there is no value")
    bounds = f"{lower:g} to {upper:g}" if math.isfinite(lower) and math.isfinite(upper) else None
    bounds = bounds or (f"at most {upper:g}" if math.isfinite(upper) else f"at least {lower:g}")
    facts = f"{measured:.4g}{'' if error is None else f' ± {error:.2g}'}, {bounds} is published"
    margin = AGREES * (error or 0.0)
    verdict: Verdict = "agrees" if lower <= measured <= upper else "disagrees"
    if min(abs(measured - lower), abs(measured - upper)) < margin:
        verdict, facts = "undecided", f"{facts}: within two standard errors of it"
    return Claim(claim, published, source, measured, error, n, verdict, facts)


def compare_rate(
    claim: str, source: str, successes: int, attempts: int, published: float, *, tolerance: float = 0.0
) -> Claim:
    """Compare a rate of success with a published one, by the interval of Clopper and Pearson at 95 %.

    They agree if the interval comes within `tolerance` of the published rate. An interval wider than one half decides
    nothing unless it excludes the rate.
    """
    if attempts == 0:
        return Claim(claim, published, source, None, None, 0, "undecided", "no run")
    from scipy.stats import binomtest

    low, high = binomtest(successes, attempts).proportion_ci(CONFIDENCE, method="exact")
    facts = f"{successes} of {attempts}, 95 % interval {low:.2f} to {high:.2f}"
    verdict: Verdict
    if not low - tolerance <= published <= high + tolerance:
        verdict = "disagrees"
    elif high - low > 0.5:
        verdict, facts = "undecided", f"{facts}: more runs are needed"
    else:
        verdict = "agrees"
    return Claim(claim, published, source, successes / attempts, (high - low) / 2, attempts, verdict, facts)
