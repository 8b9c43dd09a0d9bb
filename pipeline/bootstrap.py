"""Bootstrap intervals of metrics and of paired differences (Efron & Tibshirani, An Introduction to the Bootstrap, 1993,
percentile interval).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from pipeline.metrics import METRICS, Predictions, lead, metric_value, metrics_of

RESAMPLES = 1000
# Resamples drawn at a time: fewer of many rows, so that their counts take 40 MB at most.
CHUNK, CHUNK_CELLS = 100, 5_000_000


def bootstrap_intervals(task: str, predictions: Predictions, seed: int) -> dict[str, list[float]]:
    """95 % percentile bootstrap interval of every metric of the task."""
    values: dict[str, list[np.ndarray]] = {metric: [] for metric in metrics_of(task)}
    for chunk in _resamples(len(predictions.actual), seed):
        for metric, found in values.items():
            found.append(METRICS[metric].compute(predictions, chunk))
    return {metric: _percentiles(np.concatenate(found)) for metric, found in values.items()}


def paired_differences(
    metric: str, first: Predictions, others: Sequence[Predictions], seed: int
) -> list[tuple[float, list[float]]]:
    """How much better `first` is than each other on the same rows (n,), with 95 % percentile intervals over shared
    resamples; below 0 where it is worse.
    """
    drawn = [[METRICS[metric].compute(p, w) for p in (first, *others)] for w in _resamples(len(first.actual), seed)]
    values = [np.concatenate(chunks) for chunks in zip(*drawn, strict=True)]
    whole = metric_value(metric, first)
    return [
        (lead(metric, whole, metric_value(metric, other)), _percentiles(lead(metric, values[0], resampled)))
        for other, resampled in zip(others, values[1:], strict=True)
    ]


def _percentiles(values: np.ndarray) -> list[float]:
    defined = values[~np.isnan(values)]
    low, high = np.percentile(defined, [2.5, 97.5]) if len(defined) else (np.nan, np.nan)
    return [float(low), float(high)]


def _resamples(n: int, seed: int) -> Iterator[np.ndarray]:
    """RESAMPLES rows of bootstrap counts, in chunks of at most CHUNK rows (k, n)."""
    rng = np.random.default_rng(seed)
    size = max(1, min(CHUNK, CHUNK_CELLS // n))
    for first in range(0, RESAMPLES, size):
        k = min(size, RESAMPLES - first)
        draws = rng.integers(0, n, (k, n)) + n * np.arange(k)[:, None]
        yield np.bincount(draws.ravel(), minlength=k * n).reshape(k, n).astype(float)
