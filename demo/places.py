"""A database of places for the demo: three networks that nobody has (RFC 5737), each in a city.

It is made in the format of MaxMind's databases (https://maxmind.github.io/MaxMind-DB/), as are those that a real
gateway is given.
"""

import ipaddress
import struct
from typing import NamedTuple

PLACES = {
    "192.0.2.0/24": ("Lagos", "NG", 6.46, 3.39),
    "198.51.100.0/24": ("Berlin", "DE", 52.52, 13.4),
    "203.0.113.0/24": ("Tokyo", "JP", 35.68, 139.69),
}
NOTHING_BETWEEN = bytes(16)
METADATA = b"\xab\xcd\xefMaxMind.com"


def head(kind, size):
    """The bytes before a value: of which kind it is, and how long."""
    if size >= 29 + 256:
        raise ValueError("too long for the demo's writer")
    length, rest = (size, b"") if size < 29 else (29, bytes([size - 29]))
    if kind <= 7:
        return bytes([kind << 5 | length]) + rest
    return bytes([length, kind - 7]) + rest


# Readers ask for the very kinds that the format's text names.
U16, U32, U64 = (5, 2), (6, 4), (9, 8)


class Unsigned(NamedTuple):
    kind: tuple
    number: int


def encoded(value):
    match value:
        case str():
            text = value.encode()
            return head(2, len(text)) + text
        case float():
            return head(3, 8) + struct.pack(">d", value)
        case Unsigned(kind, number):
            return head(*kind) + number.to_bytes(kind[1])
        case list():
            return head(11, len(value)) + b"".join(map(encoded, value))
        case dict():
            return head(7, len(value)) + b"".join(encoded(key) + encoded(of) for key, of in value.items())
    raise TypeError(value)


def database(places, built):
    # Each node has two places: for an address whose next bit is 0, and for one whose next is 1.
    nodes, records = [[None, None]], b""
    for network, (city, country, latitude, longitude) in places.items():
        network = ipaddress.ip_network(network)
        at = len(records)
        records += encoded({
            "city": {"names": {"en": city}},
            "country": {"iso_code": country},
            "location": {"latitude": latitude, "longitude": longitude, "accuracy_radius": Unsigned(U16, 20)},
        })
        bits = f"{int(network.network_address):032b}"[: network.prefixlen]
        node = 0
        for bit in bits[:-1]:
            if nodes[node][int(bit)] is None:
                nodes[node][int(bit)] = len(nodes)
                nodes.append([None, None])
            node = nodes[node][int(bit)]
        nodes[node][int(bits[-1])] = ("record", at)
    count = len(nodes)

    def pointer(side):
        if side is None:
            return count
        return side if isinstance(side, int) else count + len(NOTHING_BETWEEN) + side[1]

    tree = b"".join(pointer(side).to_bytes(3) for node in nodes for side in node)
    metadata = encoded({
        "binary_format_major_version": Unsigned(U16, 2),
        "binary_format_minor_version": Unsigned(U16, 0),
        "build_epoch": Unsigned(U64, built),
        "database_type": "Demo-City",
        "description": {"en": "Three networks that nobody has"},
        "ip_version": Unsigned(U16, 4),
        "languages": ["en"],
        "node_count": Unsigned(U32, count),
        "record_size": Unsigned(U16, 24),
    })
    return tree + NOTHING_BETWEEN + records + METADATA + metadata

