"""What the machine did during a fit, where MLflow's switch asks for it."""

from __future__ import annotations

import argparse
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.console import PipelineError, positive_float
from pipeline.store.write import Curves

INTERVAL = "MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL"


@contextmanager
def system_metrics() -> Iterator[Curves]:
    """MLflow's system metrics of this machine while the block runs: each by its name and the number of its sample.

    Empty unless MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING is true; a sample every MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL
    seconds (10), and one at the end. MLflow's own monitor needs a run to write to, and ours is written whole.
    PipelineError: the interval is no number above 0.
    """
    found: Curves = {}
    if os.environ.get("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "").lower() not in ("true", "1"):
        yield found
        return
    from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
    from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor
    from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor

    monitors, ended = [CPUMonitor(), DiskMonitor(), NetworkMonitor()], threading.Event()
    try:
        interval = positive_float(os.environ.get(INTERVAL) or "10")
    except (ValueError, argparse.ArgumentTypeError):
        raise PipelineError(f"{INTERVAL}: {os.environ[INTERVAL]!r} is no number of seconds above 0") from None

    def sample() -> None:
        number, done = 0, False
        while not done:
            done, number = ended.wait(interval), number + 1
            for monitor in monitors:
                monitor.collect_metrics()
                for name, value in monitor.aggregate_metrics().items():
                    found.setdefault(f"system/{name}", {})[number] = value
                monitor.clear_metrics()

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield found
    finally:
        ended.set()
        thread.join()
