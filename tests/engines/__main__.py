"""`make engines`: gets the brokers that can be had here, sees that each starts, and with --stay leaves them running.

python -m tests.engines [get | --stay]
"""

import signal
import sys
import tempfile
import time
from pathlib import Path

from tests.engines.brokers import KINDS, Broker, lacking
from tests.engines.fetching import fetch_all


def report(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def try_all(folder: Path, *, stay: bool) -> None:
    """Start each and say how a shop reaches it; stop them at once, or when somebody says so."""
    started: list[Broker] = []
    try:
        for kind, make in KINDS.items():
            if lacking(kind):
                continue
            broker = make(folder / kind)
            started.append(broker)
            began = time.monotonic()
            broker.start()
            report(f"{make.__name__} answers after {time.monotonic() - began:.1f} s: SOUK_BROKER_URL={broker.url}")
        if stay and started:
            report("They run until this command ends.")
            signal.sigwait({signal.SIGINT, signal.SIGTERM})
    finally:
        for broker in started:
            broker.kill()


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM} if "--stay" in sys.argv else set())
    fetch_all(report)
    if "get" not in sys.argv:
        with tempfile.TemporaryDirectory(prefix="souk-engines-") as home:
            try_all(Path(home), stay="--stay" in sys.argv)
