"""A bar chart as SVG, readable on light and dark ground."""

from xml.sax.saxutils import escape

WIDTH, LABEL, BAR, GAP, TOP = 760, 270, 20, 10, 46


def bars(values, title):
    """`values`: what a name comes to. The gateway's own bars stand out."""
    height = TOP + len(values) * (BAR + GAP) + 8
    longest = max(values.values())
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" font-family="sans-serif" font-size="13">',
        "<style>text{fill:#24292f}@media(prefers-color-scheme:dark){text{fill:#e6edf3}}</style>",
        f"<title>{escape(title)}</title>",
        f'<text x="0" y="20" font-size="15" font-weight="bold">{escape(title)}</text>',
    ]
    for number, (name, value) in enumerate(sorted(values.items(), key=lambda item: item[1])):
        top = TOP + number * (BAR + GAP)
        width = value / longest * (WIDTH - LABEL - 60)
        colour = "#8b949e" if any(other in name for other in ("nginx", "HAProxy", "pingora", "Apache")) else "#1f883d"
        lines += [
            f'<text x="{LABEL - 8}" y="{top + 15}" text-anchor="end">{escape(name)}</text>',
            f'<rect x="{LABEL}" y="{top}" width="{width:.1f}" height="{BAR}" rx="2" fill="{colour}"/>',
            f'<text x="{LABEL + width + 6:.1f}" y="{top + 15}">{value:.1f}</text>',
        ]
    return "\n".join([*lines, "</svg>", ""])
