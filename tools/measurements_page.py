"""The page of all measurements and landmarks: `python tools/measurements_page.py > docs/measurements.md`."""

from __future__ import annotations

from imhead.measure.landmarks import LANDMARKS
from imhead.measure.table import MEASUREMENTS, VOLUMES

_TEXT = """# Measurements

`imhead measure HEAD --json` gives every value below, and `imhead edit HEAD --region nose --target tip_projection=-2mm`
changes one. This page is written by `python tools/measurements_page.py > docs/measurements.md`; the table is in
`src/imhead/measure/table.py`.

- **On the neutral face**, whatever expression the head has: lips shut, eyes open.
- **On the surface itself.** A landmark is a place in a face of the template's topology, carried to the head by the
  region codes and put on the zero set. The margins of lids and lips, where two sheets meet, stay where the codes put
  them.
- **Independent of place and turn.** All are functions of places on the surface; a forward distance brings its own
  direction along, from the tragions to the orbitales.
- **Not a clinical instrument.** Names and definitions are the standard ones, the places were found on a mean head and
  carried over by a model. Compare values of this program with each other, not with a caliper.

## Distances, angles and volumes

{measurements}

`tied` names what cannot stay while a measurement changes, since the same landmarks make it up. An edit by number holds
the other lengths of its regions; angles, volumes and what is tied are reported instead.

## Landmarks

Places on the mean head, of the left one of a pair, in the [head frame](conventions.md).

{landmarks}
"""


def page() -> str:
    """The page as Markdown."""
    return _TEXT.format(
        measurements=_table(
            ("measurement", "unit", "group", "definition", "tied", "source"),
            [
                (f"`{m.name}`", m.unit, m.group, m.definition, ", ".join(f"`{k}`" for k in m.tied), m.source)
                for m in (*MEASUREMENTS, *VOLUMES)
            ],
        ),
        landmarks=_table(
            ("landmark", "symbol", "x, y, z in mm", "definition"),
            [
                (
                    f"`{'left_, right_' if k.paired else ''}{k.name}`",
                    k.symbol,
                    ", ".join(f"{v:.1f}" for v in k.mean_mm),
                    k.definition,
                )
                for k in LANDMARKS
            ],
        ),
    )


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


if __name__ == "__main__":
    print(page(), end="")
