"""How grades and logs look: what several commands print alike."""

PLAIN_WIDTH = 160  # of a log, which has no width of its own
STYLES = {
    "identical": "green",
    "equal": "green",
    "consistent": "yellow",
    "different": "red",
    "litter": "yellow",
    "damaged": "red",
}
