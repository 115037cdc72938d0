"""uWSGI as a Python module: serve_uwsgi OPTIONS"""

import sys

import pyuwsgi

pyuwsgi.run(sys.argv[1:] + [f"--pythonpath={folder}" for folder in sys.path if folder])
