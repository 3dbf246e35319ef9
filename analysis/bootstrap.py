"""The two bootstraps, SciPy's: over the trainings of a cell, and over the test images that all runs share."""

from functools import lru_cache
from typing import Dict, Iterable, List, Tuple

import numpy as np
from scipy.stats import bootstrap

from analysis.matches import Matches

#: Samples of the images; the error of a standard error is then 2 %.
SAMPLES = 1000
_OF_SEEDS = 9999


@lru_cache(maxsize=None)
def spread_of_trainings(values: Tuple[float, ...]) -> float:
    """The variance of one training's value, from those of at least two trainings that differ in their seed.

    A bootstrap's variance of a mean of n values is too small by (n - 1) / n, which is much for three.
    """
    rng = np.random.default_rng(0)
    drawn = bootstrap((values,), np.mean, n_resamples=_OF_SEEDS, method='percentile', rng=rng)
    return float(drawn.standard_error**2 * len(values) ** 2 / (len(values) - 1))


def over_images(
    matches: Dict[str, Matches], wanted: Iterable[Tuple[str, str]], samples: int = SAMPLES
) -> Dict[Tuple[str, str], np.ndarray]:
    """The values of metrics on samples of the test images, drawn with repetition.

    Runs that were evaluated on the same images share each sample, so differences between them are paired.

    Args:
        matches (dict): by run id.
        wanted (iterable): pairs of a run id and the key of a metric; what no matches give is left out.
        samples (int): how many.

    Returns:
        dict: (samples,) values as fractions by run id and key.
    """
    groups: Dict[str, List[Tuple[str, str]]] = {}
    for run, key in dict.fromkeys(wanted):
        if run in matches and key in matches[run].keys:
            groups.setdefault(matches[run].evaluated, []).append((run, key))
    values: Dict[Tuple[str, str], np.ndarray] = {}
    for pairs in groups.values():
        values.update(zip(pairs, _on_shared_images(matches, pairs, samples)))
    return values


def _on_shared_images(matches: Dict[str, Matches], pairs: List[Tuple[str, str]], samples: int) -> np.ndarray:
    """(pairs, samples) values."""
    images = matches[pairs[0][0]].images
    sets = list(dict.fromkeys((run, matches[run].prefix(key)) for run, key in pairs))

    def values(drawn: np.ndarray, axis: int) -> np.ndarray:
        """``drawn`` are (samples, images) numbers of images; the result is (pairs, samples)."""
        shifted = drawn + images * np.arange(len(drawn))[:, None]
        times = np.bincount(shifted.ravel(), minlength=drawn.size).reshape(drawn.shape)
        found = {(run, prefix): matches[run].metrics(prefix, times) for run, prefix in sets}
        return np.stack([found[run, matches[run].prefix(key)][key] for run, key in pairs])

    result = bootstrap(
        (np.arange(images),),
        values,
        n_resamples=samples,
        batch=250,
        vectorized=True,
        axis=-1,
        method='percentile',
        rng=np.random.default_rng(0),
    )
    return result.bootstrap_distribution
