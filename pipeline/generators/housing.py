"""Housing prices: a smooth random surface, a linear part and heavy-tailed noise, with the Bayes ceiling of R²."""

from __future__ import annotations

import numpy as np
import pandas as pd

from pipeline.generators.signal import standardise, without_linear_part

# Housing: shares of the target's variance, and the smooth surface. SURFACE_SEED is part of the signal's definition
# like the other constants: every data seed has the same surface.
HOUSING_ROWS = 20_640
LINEAR_SHARE = 0.22
NOISE_SHARE = 0.1373
SURFACE_SEED = 2026
SURFACE_WAVES = 200
SURFACE_FREQUENCY = 0.25
TARGET_MEAN, TARGET_STD = 2.07, 0.25


def make_housing(seed: int, rows: int = HOUSING_ROWS) -> tuple[pd.DataFrame, float]:
    """Districts (rows x 12) and the Bayes ceiling of R².

    The target is a linear part, a smooth random surface over income, age, place and population (random Fourier
    features, Rahimi & Recht 2007) without its own linear part, and Laplace noise (heavy tails, as prices
    have), in fixed shares of the variance. The ceiling is one minus the noise's share of the target's variance in the
    very rows drawn.
    """
    rng, n = np.random.default_rng(seed), rows
    income = np.exp(rng.normal(1.25, 0.45, n)).clip(0.5, 15).round(4)
    age = rng.integers(1, 53, n).astype(float)
    south = rng.random(n) < 0.55
    latitude = np.where(south, rng.normal(34, 0.7, n), rng.normal(37.9, 0.9, n)).clip(32.5, 42).round(2)
    longitude = (-119.6 - (latitude - 36) * 0.85 + rng.normal(0, 0.6, n)).clip(-124.4, -114.3).round(2)
    rooms = (3.6 + 0.45 * income + rng.normal(0, 0.8, n)).clip(1, 20).round(4)
    bedrooms = (1 + 0.03 * rooms + rng.normal(0, 0.06, n)).clip(0.5, 3).round(4)
    population = np.exp(rng.normal(7, 0.6, n)).round().clip(3, 20_000)
    occupants = np.exp(rng.normal(1.06, 0.22, n)).clip(1, 12).round(4)

    inputs = np.column_stack(
        [
            (np.log(income) - 1.25) / 0.45,
            (age - 26.5) / 15,
            (latitude - 35.8) / 2.1,
            (longitude + 119.4) / 1.9,
            (np.log(population) - 7) / 0.6,
        ]
    )
    constants = np.random.default_rng(SURFACE_SEED)
    waves = constants.normal(0, SURFACE_FREQUENCY, (inputs.shape[1], SURFACE_WAVES))
    phases = constants.uniform(0, 2 * np.pi, SURFACE_WAVES)
    heights = constants.normal(size=SURFACE_WAVES)
    # so many rows at a time: all waves of all rows would take 1.6 kB a row
    blocks = (inputs[start : start + HOUSING_ROWS] for start in range(0, n, HOUSING_ROWS))
    surface = np.concatenate([np.cos(block @ waves + phases) @ heights for block in blocks])
    frame = pd.DataFrame(
        {
            "MedInc": income,
            "HouseAge": age,
            "AveRooms": rooms,
            "AveBedrms": bedrooms,
            "Population": population,
            "AveOccup": occupants,
            "Latitude": latitude,
            "Longitude": longitude,
            "rooms_per_household": (rooms / occupants).round(6),
            "bedrooms_per_room": (bedrooms / rooms).round(6),
            "population_per_household": (population / occupants).round(6),
        }
    )
    curved = standardise(without_linear_part(surface, np.column_stack([frame.to_numpy(), inputs])))
    linear = standardise(inputs @ np.array([0.8, 0.2, -0.3, 0.0, 0.0]))
    noise = rng.laplace(0, np.sqrt(NOISE_SHARE / 2), n)
    signal = np.sqrt(LINEAR_SHARE) * linear + np.sqrt(1 - LINEAR_SHARE - NOISE_SHARE) * curved
    target = signal + noise
    frame["MedHouseVal"] = (TARGET_MEAN + TARGET_STD * target).round(4)
    return frame, float(1 - (noise**2).sum() / ((target - target.mean()) ** 2).sum())
