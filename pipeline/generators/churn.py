"""Customer churn: log-odds with interactions stronger than their linear part, with the Bayes ceiling of accuracy."""

from __future__ import annotations

import numpy as np
import pandas as pd

from pipeline.generators.signal import standardise, without_linear_part

# Churn: weights of the standardised linear and curved parts of the log-odds. The curved part lies in few columns, so
# that a forest which looks at more columns a split, as tuning finds, gains by it.
CHURN_ROWS, CHURNED = 7_043, 2_662
CHURN_LINEAR, CHURN_CURVED = 1.5, 2.1


def make_churn(seed: int, rows: int = CHURN_ROWS) -> tuple[pd.DataFrame, float]:
    """Telecom customers (rows x 21, 37.8 % of them churned) and the Bayes ceiling of accuracy.

    The log-odds have a linear part and interactions without their own linear part; logistic noise is added and the
    highest values churn. With the cut as intercept, the churn probability p of a row is known, and the ceiling is
    the mean of max(p, 1 - p) over the rows drawn.
    """
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
        - 0.5 * standardise(log_tenure)
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
    odds = CHURN_LINEAR * standardise(linear)
    odds += CHURN_CURVED * standardise(without_linear_part(curved, design))
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
