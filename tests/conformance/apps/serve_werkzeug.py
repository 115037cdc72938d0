"""Werkzeug's development server: serve_werkzeug PORT MODULE:NAME"""

import importlib
import sys

from werkzeug.serving import run_simple

port, (module, name) = int(sys.argv[1]), sys.argv[2].split(":")
run_simple("127.0.0.1", port, getattr(importlib.import_module(module), name), threaded=True)
