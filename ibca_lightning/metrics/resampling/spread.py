"""From the scatter of resamples to an interval.

A percentile interval of a figure that is biased in small samples, near 0 or 1, or a sum of absolute values lies beside
the truth. Each kind of figure has its interval; `python -m tests.bench.coverage` says how often each holds the truth.

**Fractions** (precision, recall, AP, AUROC, their means): Wilson's interval (JASA 1927) of a share out of n, where n is
what makes a share as uncertain as the resamples are. For AP, Boyd, Eng and Page (ECML PKDD 2013) found such binomial
intervals to hold where bootstraps do not.
**Calibration errors**: a sum of absolute gaps is too large by what chance adds to each gap. The interval holds those
multiples of the gaps found with which, under the scatter of the resamples, the error found is no surprise.
**All others**: Student's interval.
**Localisation**: the same, joined with Hall's (JRSS B 1992), which turns the skewness of a mean away. Most lesions are
small and most attention misses them; a sample without the few large values has too low a mean and too small a scatter.
A class, which may have a dozen of them, borrows some of the scatter of all classes.

What rests on few groups, or on some that are much larger than the others, has the quantile of Student's t with as many
groups as would be as good if they were equal (Kish 1965): (sum of sizes)^2 / sum of squares.
"""

import numpy as np
from scipy.special import betaincinv, stdtrit

from ibca_lightning.metrics.operating_point import Floats, ratio

_FEWEST = 1.05  # groups: of one alone there is no scatter, and no interval but the widest
_WIDEST = 50.0  # quantiles: with so few groups a fraction's interval is nearly [0, 1]
_SOME = 2  # groups, with fewer there is no interval of what has no bounds
_STILL = 1e-12  # variance of resamples that only rounding moves
_EVEN = 1e-6  # skewness that is none
_ROUNDED = 1e-20  # squares of residuals that only rounding makes
_SURPRISE = 3.84  # squared quantile of 95 %, in what a class with few units adds to the variance of a mean
_MULTIPLES = np.linspace(0, 3, 31)  # of the gaps found
_LENT = 10.0  # times its own variance, what a class borrows from others at most: they may be of another kind


def effective(sizes: Floats) -> Floats:
    """How many equal groups are as good as groups of these sizes.

    Args:
        sizes: (G, ...).

    Returns:
        (...,), 0 where all sizes are 0.

    Examples:
        >>> import numpy as np
        >>> from ibca_lightning.metrics.resampling.spread import effective
        >>> effective(np.array([[4.0, 9.0], [4.0, 1.0]])).round(2).tolist()
        [2.0, 1.22]
    """
    return ratio(sizes.sum(axis=0) ** 2, (sizes**2).sum(axis=0), otherwise=0.0)


def quantile(groups: Floats | float, level: float) -> Floats:
    """Student's, for the two-sided interval of `level`."""
    found: Floats = np.minimum(stdtrit(np.maximum(groups, _FEWEST) - 1, (1 + level) / 2), _WIDEST)
    return found


def variance(draws: Floats, groups: Floats | float) -> Floats:
    """Of a figure over resamples (R, ...), for the groups that a bootstrap of G of them is short of: G / (G - 1).

    0 where fewer than two resamples have the figure.
    """
    known = ~np.isnan(draws)
    number = known.sum(axis=0).astype(np.float64)
    mean = ratio(np.where(known, draws, 0.0).sum(axis=0), number, otherwise=0.0)
    squares = ratio((np.where(known, draws - mean, 0.0) ** 2).sum(axis=0), number, otherwise=0.0)
    groups = np.maximum(groups, _FEWEST)
    corrected: Floats = squares * groups / (groups - 1)
    return corrected


def borrowed(scatter: Floats, unit: Floats, pairs: Floats, groups: Floats) -> Floats:
    """Variance of the mean of each class, as if it had one group more, whose pairs scatter as those of all classes.

    Where a class lacks the few large values that make its mean, its own scatter is too small. The variance of a pair is
    taken to be a dispersion that classes share times a function of the mean, as quasi-likelihood has it (Wedderburn,
    Biometrika 1974), and is averaged with the class's own by their weights (Smyth, Stat. Appl. Genet. Mol. Biol. 2004).

    Args:
        scatter: (L,), the classes' own, as from `variance`.
        unit: (L,), what the variance of a pair grows with: m (1 - m) of a share with mean m, m^2 of a ratio.
        pairs: (L,), of each class.
        groups: (L,), as from `effective`.

    Returns:
        (L,), never less than `scatter`; equal to it for one class, and where it is 0.

    Examples:
        >>> import numpy as np
        >>> from ibca_lightning.metrics.resampling.spread import borrowed
        >>> borrowed(np.array([0.01, 0.03]), np.array([0.2, 0.2]), np.array([8.0, 8.0]), np.array([4.0, 4.0])).tolist()
        [0.012, 0.03]
    """
    dispersion = (scatter * pairs**2).sum() / max((unit * pairs).sum(), _STILL)
    lent = np.minimum(ratio(dispersion * unit, pairs, otherwise=0.0), _LENT * scatter)
    found: Floats = np.maximum(scatter, (groups * scatter + lent) / (groups + 1))
    return found


def fraction(
    value: Floats,
    draws: Floats,
    units: Floats | float,
    groups: Floats | float,
    level: float,
    alike: Floats | float | None = None,
    *,
    biased: bool = False,
    skew: Floats | float = 0.0,
    least: Floats | float = 0.0,
) -> Floats:
    """Compute Wilson's interval of a share out of as many as make it as uncertain as its resamples.

    Near 0 and 1, where it rests on fewer than three units, its end is that of Clopper and Pearson, one-sided (Brown,
    Cai and DasGupta, Statistical Science 2001, who take Poisson's).

    Args:
        value: (...,) in [0, 1], NaN where undefined.
        draws: (R, ...), of the resamples.
        units: (...,), independent observations that it rests on at most, such as positives for recall.
        groups: (...,), as from `effective`.
        level: In (0, 1).
        alike: (...,), the observations that it is taken to rest on where all resamples agree; None: the groups.
        biased: Whether it is joined with the interval about the figure less the bias that resampling shows.
        skew: (...,), of the figure, as from `skewness`; what is not 0 joins Hall's interval.
        least: (...,), variance that it has at least, as from `borrowed`.

    Returns:
        (2, ...), low and high, which hold `value`; NaN where it is undefined.

    Examples:
        >>> import numpy as np
        >>> from ibca_lightning.metrics.resampling.spread import fraction
        >>> low, high = fraction(np.array(1.0), np.ones(100), units=12.0, groups=12.0, level=0.95)  # 12 hits of 12
        >>> round(float(low), 2), float(high)
        (0.71, 1.0)
    """
    scatter = np.maximum(variance(draws, groups), least)
    number = ratio(value * (1 - value), np.where(scatter > _STILL, scatter, 0.0))
    number = np.minimum(np.where(np.isnan(number), groups if alike is None else alike, number), units)
    found = [_wilson(value, number, groups, level)]
    if biased:
        known = ~np.isnan(draws)
        mean = ratio(np.where(known, draws, 0.0).sum(axis=0), known.sum(axis=0).astype(np.float64), otherwise=np.nan)
        found.append(_wilson(np.clip(np.where(np.isnan(mean), value, 2 * value - mean), 0, 1), number, groups, level))
    found.append(_hall(value, scatter, groups, level, skew))
    low, high = np.min([own[0] for own in found], axis=0), np.max([own[1] for own in found], axis=0)
    none = number <= 0
    low, high = np.where(none, 0.0, np.minimum(low, value)), np.where(none, 1.0, np.maximum(high, value))
    ends: Floats = np.clip(np.stack([low, high]), 0, 1) + 0 * value  # NaN where it is
    return ends


def _wilson(centre: Floats, number: Floats, groups: Floats | float, level: float) -> tuple[Floats, Floats]:
    square = quantile(groups, level) ** 2
    middle = (number * centre + square / 2) / (number + square)
    half = np.sqrt(square * (number * centre * (1 - centre) + square / 4)) / (number + square)
    low = np.fmin(middle - half, _rare(number * centre, number, level))
    return low, np.fmax(middle + half, 1 - _rare(number * (1 - centre), number, level))


def _rare(found: Floats, number: Floats, level: float) -> Floats:
    """The lower end of a share of which fewer than three units were found, NaN for more.

    At three it gives way to Wilson's, as in the paper, by a step of a fifth of a unit: 0.002 of 100. Both ends hold
    there, the lower one is the wider, and an end never falls where more is found.
    """
    few = (found > 0) & (found < 3)
    ends: Floats = betaincinv(np.where(few, found, 1.0), np.where(few, number - found + 1, 1.0), 1 - level)
    return np.where(few, ends, np.nan)


def of_mean(values: Floats, numbers: Floats) -> float:
    """How many observations a mean over classes rests on, as `units` or `groups` of `fraction`.

    A class whose few positives were all found has no scatter, and would make the mean too sure: each counts with
    the variance that it has with two hits and two misses more (Agresti and Coull 1998).

    Args:
        values: (L,), of the classes.
        numbers: (L,), observations of each.

    Returns:
        `numbers` for one class.
    """
    if not len(values):
        return 0.0
    shares = (numbers * values + _SURPRISE / 2) / (numbers + _SURPRISE)
    own = shares * (1 - shares) / (numbers + _SURPRISE)
    mean = shares.mean()
    return float(mean * (1 - mean) / (own.sum() / len(values) ** 2) - _SURPRISE)


def skewness(residuals: Floats) -> Floats:
    """Of a mean over groups, from what each group adds to it, (G, ...), less its share of the mean: (...,)."""
    squares = (residuals**2).sum(axis=0)
    return ratio((residuals**3).sum(axis=0), np.where(squares > _ROUNDED, squares, 0.0) ** 1.5, otherwise=0.0)


def student(
    value: Floats,
    draws: Floats,
    groups: Floats | float,
    level: float,
    skew: Floats | float = 0.0,
    least: Floats | float = 0.0,
) -> Floats:
    """Student's interval of a figure without bounds, joined with Hall's where it is skewed.

    Args:
        value: (...,), NaN where undefined.
        draws: (R, ...).
        groups: (...,).
        level: In (0, 1).
        skew: (...,), as from `skewness`.
        least: (...,), variance that it has at least, as from `borrowed`.

    Returns:
        (2, ...), low and high; NaN for fewer than two groups.
    """
    scatter = np.maximum(variance(draws, groups), least)
    half = quantile(groups, level) * np.sqrt(scatter)
    ends = _hall(value, scatter, groups, level, skew)
    low, high = np.minimum(value - half, ends[0]), np.maximum(value + half, ends[1])
    none = np.asarray(groups) < _SOME
    found: Floats = np.where(none, np.nan, np.stack([low, high]))
    return found


def _hall(
    value: Floats, scatter: Floats, groups: Floats | float, level: float, skew: Floats | float
) -> tuple[Floats, Floats]:
    """Hall's second interval: Student's ends, each carried back through the cubic that makes the mean symmetric.

    The value alone where it is symmetric, but for rounding.
    """
    times, even = quantile(groups, level), np.abs(skew) < _EVEN
    skew = np.where(even, 1.0, skew)
    below, above = (3 / skew * (np.cbrt(1 + skew * (side - skew / 6)) - 1) for side in (times, -times))
    error = np.where(even, 0.0, np.sqrt(scatter))
    return value - error * below, value - error * above


def error(gaps: Floats, noise: Floats, wide: Floats, groups: float, level: float) -> Floats:
    """Compute the interval of a sum of absolute gaps.

    It joins two, each of which is too narrow where the other is not: Student's about the sum less the bias that
    resampling shows, and the multiples of the gaps found with which the sum found is no surprise.

    Args:
        gaps: (J,), of the sample; their absolute values sum to the error.
        noise: (R, J), what resampling adds to them.
        wide: (R, J), the same, and at least as wide as the probabilities say.
        groups: As from `effective`.
        level: In (0, 1).

    Returns:
        (2,), low and high, which hold the error.

    Examples:
        The gaps are what chance makes of none: 0 is in the interval.

        >>> import numpy as np
        >>> from ibca_lightning.metrics.resampling.spread import error
        >>> generator = np.random.default_rng(0)
        >>> gaps, noise = 0.01 * generator.standard_normal(15), 0.01 * generator.standard_normal((500, 15))
        >>> low, high = error(gaps, noise, noise, groups=100.0, level=0.95)
        >>> float(low), bool(high > np.abs(gaps).sum())
        (0.0, True)
    """
    found = np.abs(gaps).sum()
    if groups < _SOME:
        return np.array([0.0, 1.0])
    draws = np.abs(gaps + noise).sum(axis=1)
    centred = student(2 * found - draws.mean(), draws, groups, level)
    few = max(groups, _FEWEST)
    wide = wide * float(quantile(groups, level) / quantile(np.inf, level)) * np.sqrt(few / (few - 1))
    tails = [50 * (1 - level), 50 * (1 + level)]
    expected = np.array([np.percentile(np.abs(times * gaps + wide).sum(axis=1), tails) for times in _MULTIPLES])
    below, above = np.maximum.accumulate(expected).T
    ends = [found * np.interp(found, own, _MULTIPLES) for own in (above, below)]
    low, high = min(ends[0], centred[0], found), max(ends[1], centred[1], found)
    return np.array([max(low, 0.0), min(high, 1.0)])


def of_overlap(values: Floats) -> Floats:
    """F1 from the share of hits among all that are positive or predicted."""
    return 2 * values / (1 + values)


def overlap(values: Floats) -> Floats:
    """That share from F1: unlike F1 it is a share of counted things."""
    return values / (2 - values)


def listed(ends: Floats) -> list[float] | None:
    """[low, high] for JSON, None where undefined."""
    low, high = (float(end) for end in ends)
    return None if np.isnan(low) or np.isnan(high) else [low, high]
