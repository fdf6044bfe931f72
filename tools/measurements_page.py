"""The page of all measurements and landmarks: `python tools/measurements_page.py > docs/measurements.md`."""

from __future__ import annotations

from imhead.change.measured import technical_errors
from imhead.editing.words import OPPOSITES, WORDS
from imhead.measure.landmarks import LANDMARKS
from imhead.measure.population import SIZE_LENGTHS
from imhead.measure.table import MEASUREMENTS, VOLUMES

_TEXT = """# Measurements

`imhead measure HEAD --json` gives every value below, and `imhead edit HEAD --region nose --target tip_projection=-2mm`
changes one. This page is written by `python tools/measurements_page.py > docs/measurements.md`; the table is in
`src/imhead/measure/table.py`.

- **On the neutral face**, whatever expression the head has: lips shut, eyes open.
- **On the surface itself.** A landmark is a point in a face of the template. The region codes carry it to the head,
  where it is projected onto the zero set, except on the margins of lids and lips, where two sheets meet.
- **Independent of the pose.** All are functions of points on the surface; forward distances are measured along the
  direction from the tragions to the orbitales.
- **In context.** `z_model` is how many standard deviations a value lies from the mean of the heads that the model
  draws. `z_at_size` is the same among faces of one size, the geometric mean of
  {lengths}.
  That population is what the model learnt from, ages and sexes mixed. It is no norm of people, and tells nothing of
  anybody's age or sex.
- **Not a clinical instrument.** Names and definitions are standard, but the landmarks were placed on a mean head and
  are carried to other heads by a model. Compare values of this program with each other, not with those of a caliper.

## Distances, angles and volumes

{measurements}

`repeats to` is the technical error of measurement: the standard deviation of one value when a person is scanned again
and both scans are [compared](comparing.md), from 40 pairs of scans of 20 virtual patients
(`python tools/comparison_repeats.py ICT`). Other scanners and two fits apart from one another repeat less well.

`tied` lists measurements that change along, since they share landmarks. An edit by number keeps the other lengths of
its regions; changes of angles, volumes and tied measurements are reported.

## Words

`imhead edit HEAD --region nose --direction wider` changes one of these readings by standard deviations of the model's
people, and leaves those of the group's other words. A reading of several measurements is their sum, each in its own
standard deviations; `*` stands for `left_` and `right_`. A move ends where the skin would tear, fold over, pass through
itself or be pierced, and says so.

{words}

## Landmarks

Positions on the mean head in the [head frame](conventions.md); of a pair, those of the left landmark.

{landmarks}
"""


_OPPOSITE = {forward: word for word, forward in OPPOSITES.items()}


def page() -> str:
    """The page as Markdown."""
    return _TEXT.format(
        lengths=", ".join(f"`{name}`" for name in SIZE_LENGTHS),
        measurements=_table(
            ("measurement", "unit", "repeats to", "group", "definition", "tied", "source"),
            [
                (
                    f"`{m.name}`",
                    m.unit,
                    f"{technical_errors()[m.name]:.2f}",
                    m.group,
                    m.definition,
                    ", ".join(f"`{k}`" for k in m.tied),
                    m.source,
                )
                for m in (*MEASUREMENTS, *VOLUMES)
            ],
        ),
        words=_table(
            ("group", "word", "opposite", "reading"),
            [
                (group, word, _OPPOSITE[word], ", ".join(f"`{name}`" for name in names))
                for group, words in WORDS.items()
                for word, names in words.items()
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


def _table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [header, ("---",) * len(header), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


if __name__ == "__main__":
    print(page(), end="")
