"""Sends what will be refused, as Python requests does, and prints what came back.

Lines in: NAME URL BYTES ORIGIN TIMES. Lines out: NAME and a status, or 0 where there was none. The certificate to accept is
the first argument.
"""

import sys

import requests

for line in sys.stdin:
    name, url, size, origin, times = line.split()
    headers = {} if origin == "-" else {"Origin": origin}
    body = b"x" * int(size)
    for _ in range(int(times)):
        try:
            # A connection of its own each time: what is refused is lost with the connection.
            status = requests.post(url, data=body, headers=headers, verify=sys.argv[1], timeout=20).status_code
        except requests.RequestException as error:
            print(f"{name}: {error}", file=sys.stderr)
            status = 0
        print(name, status, flush=True)
