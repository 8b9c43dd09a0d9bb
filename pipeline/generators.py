"""The calibrated tables: housing prices, card fraud, customer churn, each with the best score that it allows.

The seed draws rows and noise; any number of rows comes from the same distribution, with the same share of a class. The
signal functions and their constants are fixed, and calibrated so that honest training lands near the published results
(benchmarks/calibrate.py shows how near over 20 seeds).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

# Housing: shares of the target's variance, and the smooth surface. SURFACE_SEED is part of the signal's definition
# like the other constants: every data seed has the same surface.
HOUSING_ROWS = 20_640
LINEAR_SHARE = 0.22
NOISE_SHARE = 0.1373
SURFACE_SEED = 2026
SURFACE_WAVES = 200
SURFACE_FREQUENCY = 0.25
TARGET_MEAN, TARGET_STD = 2.07, 0.25

# Credit: heavy-tailed legitimate rows, frauds around a shifted centre. A few frauds are of a second kind, which shifts
# less, and V4 the other way: trees can learn it, a linear model cannot.
CREDIT_ROWS, FRAUDS, SECOND_KIND = 10_000, 20, 3
TAIL_FREEDOM = 6
FRAUD_SHIFTS = {"V14": -5.4, "V4": 4.05, "V11": 3.6}
SECOND_SHIFTS = {"V14": -2.8, "V4": -2.95, "V11": 1.9}
CEILING_ROWS = 50_000

# Churn: weights of the standardised linear and curved parts of the log-odds. The curved part lies in few columns, so
# that a forest which looks at more columns a split, as tuning finds, gains by it.
CHURN_ROWS, CHURNED = 7_043, 2_662
CHURN_LINEAR, CHURN_CURVED = 1.5, 2.1


def make_housing(seed: int, rows: int = HOUSING_ROWS) -> tuple[pd.DataFrame, float]:
    """Districts (rows x 12) and the Bayes ceiling of R².

    The target is a linear part, a smooth random surface over income, age, place and population (random Fourier
    features, Rahimi & Recht 2007) without its own linear part, and Laplace noise (heavy tails, as prices
    have), in fixed shares of the variance. The ceiling is one minus the noise's share of the target's variance in the
    very rows drawn.
    """
    import numpy as np
    import pandas as pd

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
    curved = _standardise(_without_linear_part(surface, np.column_stack([frame.to_numpy(), inputs])))
    linear = _standardise(inputs @ np.array([0.8, 0.2, -0.3, 0.0, 0.0]))
    noise = rng.laplace(0, np.sqrt(NOISE_SHARE / 2), n)
    signal = np.sqrt(LINEAR_SHARE) * linear + np.sqrt(1 - LINEAR_SHARE - NOISE_SHARE) * curved
    target = signal + noise
    frame["MedHouseVal"] = (TARGET_MEAN + TARGET_STD * target).round(4)
    return frame, float(1 - (noise**2).sum() / ((target - target.mean()) ** 2).sum())


def make_credit(seed: int, rows: int = CREDIT_ROWS) -> tuple[pd.DataFrame, float]:
    """Card transactions (rows x 31, exactly 0.2 % of them frauds) and the Bayes ceiling of ROC-AUC.

    V1..V28 are independent, Student's t for legitimate rows and Gaussian around one of two centres for frauds. The
    ceiling is the ROC-AUC of the true likelihood ratio, which no other score can beat (Neyman & Pearson 1933), on
    CEILING_ROWS rows of each class drawn from the same distributions.
    """
    import numpy as np
    import pandas as pd
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


def make_churn(seed: int, rows: int = CHURN_ROWS) -> tuple[pd.DataFrame, float]:
    """Telecom customers (rows x 21, 37.8 % of them churned) and the Bayes ceiling of accuracy.

    The log-odds have a linear part and interactions without their own linear part; logistic noise is added and the
    highest values churn. With the cut as intercept, the churn probability p of a row is known, and the ceiling is
    the mean of max(p, 1 - p) over the rows drawn.
    """
    import numpy as np
    import pandas as pd

    rng, n = np.random.default_rng(seed), rows
    churned = round(n * CHURNED / CHURN_ROWS)

    def yes(share: float | np.ndarray) -> np.ndarray:
        return rng.random(n) < share

    gender = np.where(yes(0.5), "Female", "Male")
    senior, partner = yes(0.16), yes(0.48)
    dependents = yes(np.where(partner, 0.5, 0.1))
    contract = rng.choice(["Month-to-month", "One year", "Two year"], n, p=[0.55, 0.21, 0.24])
    internet = rng.choice(["DSL", "Fiber optic", "No"], n, p=[0.34, 0.44, 0.22])
    monthly, online, fiber = contract == "Month-to-month", internet != "No", internet == "Fiber optic"
    tenure = np.where(monthly, rng.gamma(1.2, 16, n), rng.uniform(1, 72, n)).clip(1, 72).round()
    phone = yes(0.9)
    lines = yes(0.46) & phone
    security, backup, protection, support = (yes(share) & online for share in (0.37, 0.44, 0.44, 0.37))
    television = yes(0.49) & online
    movies = np.where(yes(0.75), television, yes(0.49)) & online
    paperless = yes(0.59)
    payment = rng.choice(
        ["Bank transfer (automatic)", "Credit card (automatic)", "Electronic check", "Mailed check"],
        n,
        p=[0.22, 0.21, 0.34, 0.23],
    )
    check = payment == "Electronic check"
    services = security * 1.0 + backup + protection + support + lines
    base = 20.0 * phone + np.select([internet == "DSL", fiber], [25.0, 50.0], 0.0)
    charges = (base + 5 * services + 10 * (television * 1.0 + movies) + rng.normal(0, 2, n)).clip(18, 120).round(2)
    total = (charges * tenure * rng.normal(1, 0.03, n)).clip(18).round(2)

    def sign(condition: np.ndarray) -> np.ndarray:
        return np.where(condition, 1.0, -1.0)

    log_tenure = np.log(tenure)
    linear = (
        0.9 * sign(monthly)
        - 0.5 * _standardise(log_tenure)
        + 0.35 * sign(fiber)
        - 0.2 * sign(support)
        + 0.2 * sign(check)
        + 0.15 * sign(paperless)
    )
    curved = (
        1.0 * sign((tenure > 9) & (tenure < 30))
        + 0.9 * sign((charges > 45) & (charges < 80))
        + 0.8 * sign(monthly) * sign(fiber)
    )
    flags = [senior, partner, dependents, lines, security, backup, protection, support, television, paperless, phone]
    dummies = [internet == value for value in ("DSL", "No")] + [contract == value for value in ("One year", "Two year")]
    dummies += [payment == value for value in np.unique(payment)[:-1]]
    design = np.column_stack([*flags, *dummies, tenure, log_tenure, charges, total]).astype(float)
    odds = CHURN_LINEAR * _standardise(linear)
    odds += CHURN_CURVED * _standardise(_without_linear_part(curved, design))
    keys = odds + rng.logistic(size=n)
    cut = np.sort(keys)[-churned]
    probability = 1 / (1 + np.exp(cut - odds))

    def answer(flag: np.ndarray, needs: np.ndarray | None = None, otherwise: str = "") -> np.ndarray:
        text = np.where(flag, "Yes", "No").astype(object)
        return text if needs is None else np.where(needs, text, otherwise)

    no_internet = "No internet service"
    frame = pd.DataFrame(
        {
            "customerID": [
                f"{1000 + i:05d}-{''.join(chr(65 + c) for c in letters)}"
                for i, letters in enumerate(rng.integers(0, 26, (n, 5)))
            ],
            "gender": gender,
            "SeniorCitizen": senior.astype(int),
            "Partner": answer(partner),
            "Dependents": answer(dependents),
            "tenure": tenure.astype(int),
            "PhoneService": answer(phone),
            "MultipleLines": answer(lines, phone, "No phone service"),
            "InternetService": internet,
            "OnlineSecurity": answer(security, online, no_internet),
            "OnlineBackup": answer(backup, online, no_internet),
            "DeviceProtection": answer(protection, online, no_internet),
            "TechSupport": answer(support, online, no_internet),
            "StreamingTV": answer(television, online, no_internet),
            "StreamingMovies": answer(movies, online, no_internet),
            "Contract": contract,
            "PaperlessBilling": answer(paperless),
            "PaymentMethod": payment,
            "MonthlyCharges": charges,
            "TotalCharges": total,
            "Churn": answer(keys >= cut),
        }
    )
    return frame, float(np.maximum(probability, 1 - probability).mean())


def _standardise(values: np.ndarray) -> np.ndarray:
    return (values - values.mean()) / values.std()


def _without_linear_part(values: np.ndarray, design: np.ndarray) -> np.ndarray:
    """Residuals of a least-squares fit on an intercept and the design's columns (n x k)."""
    import numpy as np

    scaled = (design - design.mean(axis=0)) / design.std(axis=0)
    full = np.column_stack([np.ones(len(values)), scaled])
    return values - full @ np.linalg.lstsq(full, values, rcond=None)[0]


GENERATORS = {"california_housing": make_housing, "credit_fraud": make_credit, "customer_churn": make_churn}
