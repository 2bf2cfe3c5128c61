"""Every setting, grouped by what it is about. `contextvqa.options` reads them."""

from contextvqa.settings.daemon import Daemon, Flow, Guards, Lifetime
from contextvqa.settings.engine import Devices, Engine, Images, Model
from contextvqa.settings.process import (
    Cores,
    Listener,
    Logs,
    Metrics,
    is_loopback,
)
from contextvqa.settings.run import Gates, PromptOrder, Rejects, Sampling
from contextvqa.settings.store import Disk, Server, Store

__all__ = [
    "Cores",
    "Daemon",
    "Devices",
    "Disk",
    "Engine",
    "Flow",
    "Gates",
    "Guards",
    "Images",
    "Lifetime",
    "Listener",
    "Logs",
    "Metrics",
    "Model",
    "PromptOrder",
    "Rejects",
    "Sampling",
    "Server",
    "Store",
    "is_loopback",
]
