"""The calibrated tables, by the name of their dataset; each function gives rows and the best achievable score.

The seed draws rows and noise; any number of rows comes from the same distribution, with the same share of a class. The
signals and their constants are fixed, and calibrated so that honest training lands near the published results
(benchmarks/calibrate.py shows how near over 20 seeds).
"""

from __future__ import annotations

from pipeline.generators.churn import make_churn
from pipeline.generators.credit import make_credit
from pipeline.generators.housing import make_housing

GENERATORS = {"california_housing": make_housing, "credit_fraud": make_credit, "customer_churn": make_churn}
# The metric that the best achievable score of a table is of.
CEILINGS = {"california_housing": "r2", "credit_fraud": "roc_auc", "customer_churn": "accuracy"}
