"""What holds for every test: `import torch` loads no adapter; programs on the chip are started."""

import os

# The adapter needs CANN or `cordee run`. A test that wants it starts a process for it.
os.environ.setdefault("TORCH_DEVICE_BACKEND_AUTOLOAD", "0")
