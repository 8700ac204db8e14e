"""A gateway over engines that run elsewhere: `python program.py URL ...`, settings as JSON in $GATEWAY."""

import json
import os
import sys
from pathlib import Path

from cordee.core.http.loop import run
from cordee.serve.gateway.config import GatewayConfig
from cordee.serve.gateway.fleet import FixedFleet, Pool
from cordee.serve.gateway.service import Gateway, serve
from cordee.serve.pool.config import PATHS


def main(urls: list[str]) -> None:
    settings = {"port": 0} | json.loads(os.environ.get("GATEWAY", "{}"))
    for name in PATHS:
        if name in settings:
            settings[name] = Path(settings[name])
    fleet = FixedFleet([(Pool("engines", "small"), urls)])

    def ready(_: object, listener: object) -> None:
        print(json.dumps({"ready": {"port": listener.port}}), flush=True)  # type: ignore[attr-defined]

    run(serve(Gateway(GatewayConfig(**settings), fleet), on_ready=ready))


if __name__ == "__main__":
    main(sys.argv[1:])
