"""Card fraud: heavy-tailed legitimate rows, frauds around two shifted centres, with the Bayes ceiling of ROC-AUC."""

from __future__ import annotations

import numpy as np
import pandas as pd

# Credit: heavy-tailed legitimate rows, frauds around a shifted centre. A few frauds are of a second kind, which shifts
# less, and V4 the other way: trees can learn it, a linear model cannot.
CREDIT_ROWS, FRAUDS, SECOND_KIND = 10_000, 20, 3
TAIL_FREEDOM = 6
FRAUD_SHIFTS = {"V14": -5.4, "V4": 4.05, "V11": 3.6}
SECOND_SHIFTS = {"V14": -2.8, "V4": -2.95, "V11": 1.9}
CEILING_ROWS = 50_000


def make_credit(seed: int, rows: int = CREDIT_ROWS) -> tuple[pd.DataFrame, float]:
    """Card transactions (rows x 31, exactly 0.2 % of them frauds) and the Bayes ceiling of ROC-AUC.

    V1..V28 are independent, Student's t for legitimate rows and Gaussian around one of two centres for frauds. The
    ceiling is the ROC-AUC of the true likelihood ratio, which no other score can beat (Neyman & Pearson 1933), on
    CEILING_ROWS rows of each class drawn from the same distributions.
    """
    from scipy.stats import mannwhitneyu

    rng, n = np.random.default_rng(seed), rows
    frauds = round(n * FRAUDS / CREDIT_ROWS)
    second = round(frauds * SECOND_KIND / FRAUDS)
    names = [f"V{i}" for i in range(1, 29)]
    centres = np.array([[shifts.get(name, 0.0) for name in names] for shifts in (FRAUD_SHIFTS, SECOND_SHIFTS)])
    second_share = SECOND_KIND / FRAUDS

    fraud = np.zeros(n, dtype=bool)
    fraud[rng.choice(n, frauds, replace=False)] = True
    values = rng.standard_t(TAIL_FREEDOM, (n, len(names)))
    kinds = rng.permutation(np.repeat([0, 1], [frauds - second, second]))
    values[fraud] = rng.normal(centres[kinds])
    frame = pd.DataFrame(values * np.linspace(1.9, 0.35, len(names)), columns=names).round(6)
    frame.insert(0, "Time", np.sort(rng.uniform(0, 172_792, n)).round())
    frame["Amount"] = np.exp(rng.normal(3.2, 1.3, n)).clip(0.01, 25_000).round(2)
    frame["Class"] = fraud.astype(int)

    def log_likelihood_ratio(x: np.ndarray) -> np.ndarray:
        legitimate = -(TAIL_FREEDOM + 1) / 2 * np.log1p(x**2 / TAIL_FREEDOM).sum(axis=1)
        first, second = (-((x - centre) ** 2).sum(axis=1) / 2 for centre in centres)
        return np.logaddexp(np.log(1 - second_share) + first, np.log(second_share) + second) - legitimate

    legitimate = rng.standard_t(TAIL_FREEDOM, (CEILING_ROWS, len(names)))
    fraudulent = rng.normal(centres[(rng.random(CEILING_ROWS) < second_share).astype(int)])
    statistic = mannwhitneyu(log_likelihood_ratio(fraudulent), log_likelihood_ratio(legitimate)).statistic
    return frame, float(statistic / CEILING_ROWS**2)
