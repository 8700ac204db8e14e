"""Stands in for vLLM where it is started and ended: its command line, /health, and a child that outlives it.

`--refuse` ends at once as vLLM does: with much said, the reason not in the last line. `--long-end` listens no more
when it is told to end, and takes a while until it has.
"""

import json
import os
import signal
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer


def main(arguments: list[str]) -> None:
    if "--refuse" in arguments:
        print("ValueError: the model is not one", *("    at somewhere" for _ in range(5)), sep="\n")
        sys.exit(1)
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
    told = {
        "arguments": arguments,
        "child": child.pid,
        "chips": os.environ.get("CUDA_VISIBLE_DEVICES"),
    }

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(told).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    port = int(arguments[arguments.index("--port") + 1])
    server = HTTPServer(("127.0.0.1", port), Answers)

    def end(*_: object) -> None:
        server.server_close()
        time.sleep(1.5)
        os._exit(0)

    if "--long-end" in arguments:
        signal.signal(signal.SIGTERM, end)
    server.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1:])
