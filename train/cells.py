"""Cells that never lived: a seeded description of one blood cell under the microscope, and its drawing.

A network can learn the eight classes from them, so everything runs where no real image
is at hand. The features are the textbook's (size, shape of the nucleus, colour and grain
of the cytoplasm), drawn with far less variety than nature's: accuracy on them says
nothing about real cells.

A description is in units of the image's side, so one cell can be drawn at any
resolution. The generator is Python's own, which keeps its stream from release to release
(NumPy's does not promise to), and coordinates are rounded to the canvas before drawing,
so machines agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, cos, exp, hypot, pi, sin
from random import Random

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from contract.arrays import ImageArray

Colour = tuple[int, int, int]
Point = tuple[float, float]
Outline = tuple[Point, ...]

CREAM, LILAC = (253, 231, 203), (232, 222, 240)
ERYTHROCYTE, PALLOR = (212, 182, 176), (240, 214, 198)
VIOLET = (62, 36, 104)
GRAIN_CELLS = 26  # the texture of chromatin and cytoplasm is a random grid of so many cells a side
SMALLEST_CANVAS_PX = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Nucleus:
    """The range of shapes that a class's nucleus takes, in units of the cell's radius.

    An arc of discs: one disc is a round nucleus, a long arc a band or a horseshoe, and
    an arc that thins ``lobes`` - 1 times is a segmented nucleus.
    """

    radius: tuple[float, float]
    arc_turn: tuple[float, float] = (0.0, 0.0)  # of a full circle
    arc_radius: float = 0.0
    lobes: tuple[int, ...] = (1,)
    notch: tuple[float, float] = (0.0, 0.0)  # how deep a kidney is dented
    off_centre: float = 0.1
    colour: Colour = VIOLET


@dataclass(frozen=True, slots=True, kw_only=True)
class Granules:
    """How many, how large (in units of the image's side) and of which colours."""

    count: tuple[int, int]
    radius: tuple[float, float]
    colours: tuple[Colour, ...]
    over_nucleus: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What tells the cells of one class from the others."""

    radius: tuple[float, float]  # in units of the image's side
    colour: Colour
    nucleus: Nucleus | None
    granules: Granules
    roughness: float = 0.03  # of the outline
    vacuoles: tuple[int, int] = (0, 0)


_DUST = Granules(count=(0, 8), radius=(0.004, 0.006), colours=((120, 90, 160),))
RECIPES = {
    "basophil": Recipe(
        radius=(0.29, 0.36),
        colour=(150, 112, 168),
        nucleus=Nucleus(radius=(0.5, 0.6), arc_turn=(0.1, 0.35), arc_radius=0.3, lobes=(1, 2), colour=(84, 52, 124)),
        granules=Granules(
            count=(150, 230), radius=(0.010, 0.018), colours=((44, 20, 78), (58, 28, 92)), over_nucleus=True
        ),
        roughness=0.05,
    ),
    "eosinophil": Recipe(
        radius=(0.31, 0.37),
        colour=(205, 134, 128),
        nucleus=Nucleus(radius=(0.32, 0.38), arc_turn=(0.3, 0.45), arc_radius=0.48, lobes=(2, 2, 3), off_centre=0.15),
        granules=Granules(count=(200, 300), radius=(0.010, 0.015), colours=((196, 104, 100), (214, 128, 112))),
    ),
    "erythroblast": Recipe(
        radius=(0.22, 0.30),
        colour=(160, 150, 190),
        nucleus=Nucleus(radius=(0.48, 0.66), off_centre=0.18, colour=(44, 24, 70)),
        granules=_DUST,
    ),
    "ig": Recipe(
        radius=(0.36, 0.43),
        colour=(186, 160, 192),
        nucleus=Nucleus(radius=(0.6, 0.72), notch=(0.0, 0.45), off_centre=0.22, colour=(86, 52, 124)),
        granules=Granules(count=(120, 260), radius=(0.005, 0.008), colours=((108, 60, 132), (130, 84, 150))),
        roughness=0.04,
    ),
    "lymphocyte": Recipe(
        radius=(0.23, 0.30),
        colour=(128, 134, 184),
        nucleus=Nucleus(radius=(0.78, 0.88), off_centre=0.08, colour=(74, 42, 108)),
        granules=_DUST,
        roughness=0.05,
    ),
    "monocyte": Recipe(
        radius=(0.35, 0.42),
        colour=(146, 142, 182),
        nucleus=Nucleus(radius=(0.34, 0.42), arc_turn=(0.35, 0.6), arc_radius=0.36, colour=(92, 60, 130)),
        granules=Granules(count=(20, 60), radius=(0.004, 0.006), colours=((120, 90, 160),)),
        roughness=0.08,
        vacuoles=(1, 7),
    ),
    "neutrophil": Recipe(
        radius=(0.31, 0.37),
        colour=(226, 200, 196),
        nucleus=Nucleus(radius=(0.24, 0.29), arc_turn=(0.55, 0.8), arc_radius=0.5, lobes=(1, 3, 3, 4, 4)),
        granules=Granules(count=(70, 140), radius=(0.004, 0.006), colours=((188, 140, 170), (170, 126, 166))),
    ),
    "platelet": Recipe(
        radius=(0.10, 0.17),
        colour=(184, 164, 200),
        nucleus=None,
        granules=Granules(count=(40, 80), radius=(0.006, 0.012), colours=((96, 48, 124), (126, 74, 150))),
        roughness=0.12,
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Granule:
    """A dot, in units of the image's side."""

    centre: Point
    radius: float
    colour: Colour


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """Everything that is seen in one image; lengths in units of its side."""

    background: Colour
    erythrocytes: tuple[tuple[Outline, Outline], ...]  # edge and pale centre
    body: Outline
    body_colour: Colour
    nucleus: tuple[Outline, ...]
    nucleus_colour: Colour
    granules: tuple[Granule, ...]
    vacuoles: tuple[Granule, ...]
    granules_over_nucleus: bool
    grain: bytes  # GRAIN_CELLS x GRAIN_CELLS
    noise_seed: int


def describe_cell(label: str, random: Random) -> Cell:
    """A cell of class ``label``, drawn from its recipe."""
    recipe = RECIPES[label]
    radius = random.uniform(*recipe.radius)
    centre = (0.5 + random.uniform(-0.04, 0.04), 0.5 + random.uniform(-0.04, 0.04))
    stain = random.uniform(-14, 14)
    background = _between(CREAM, LILAC, random.random() ** 4)
    return Cell(
        background=_shifted(background, random.uniform(-6, 2)),
        erythrocytes=_erythrocytes(random, centre, radius),
        body=_outline(random, centre, radius, recipe.roughness),
        body_colour=_shifted(recipe.colour, stain),
        nucleus=_nucleus(random, recipe.nucleus, centre, radius),
        nucleus_colour=_shifted(recipe.nucleus.colour if recipe.nucleus else VIOLET, stain - 14),
        granules=_granules(random, recipe.granules, centre, radius),
        vacuoles=_vacuoles(random, recipe.vacuoles, centre, radius, background),
        granules_over_nucleus=recipe.granules.over_nucleus,
        grain=random.randbytes(GRAIN_CELLS**2),
        noise_seed=random.getrandbits(32),
    )


def draw_cell(cell: Cell, resolution_px: int) -> ImageArray:
    """``cell`` as uint8 pixels (side, side, 3).

    Drawn on a canvas a whole number of times larger and averaged down, which smooths
    every edge with integer arithmetic alone.
    """
    enlargement = max(2, ceil(SMALLEST_CANVAS_PX / resolution_px))
    side = enlargement * resolution_px
    canvas = Image.new("RGB", (side, side), cell.background)
    _draw_erythrocytes(canvas, cell)
    _draw_body(canvas, cell)
    _draw_nucleus(canvas, cell)
    if cell.granules_over_nucleus:
        _draw_granules(canvas, cell)
    return _with_noise(np.asarray(canvas.reduce(enlargement)), cell.noise_seed)


def _outline(
    random: Random, centre: Point, radius: float, roughness: float, notch: float = 0.0, points: int = 72
) -> Outline:
    """A closed curve that leaves a circle by ``roughness`` of its radius, with a dent of depth ``notch``."""
    waves = [(k, roughness * random.uniform(0.2, 1.0) / k**0.5, random.uniform(0, 2 * pi)) for k in (2, 3, 5, 7)]
    notch_at = random.uniform(0, 2 * pi)
    curve = []
    for step in range(points):
        angle = 2 * pi * step / points
        away = abs((angle - notch_at + pi) % (2 * pi) - pi)
        wobble = sum(depth * sin(k * angle + phase) for k, depth, phase in waves)
        reach = radius * (1 + wobble - notch * exp(-((away / 0.5) ** 2)))
        curve.append((centre[0] + reach * cos(angle), centre[1] + reach * sin(angle)))
    return tuple(curve)


def _nucleus(random: Random, shape: Nucleus | None, centre: Point, radius: float) -> tuple[Outline, ...]:
    if shape is None:
        return ()
    thickness = radius * random.uniform(*shape.radius)
    direction = random.uniform(0, 2 * pi)
    off = radius * random.uniform(0, shape.off_centre)
    centre = (centre[0] + off * cos(direction), centre[1] + off * sin(direction))
    turn = 2 * pi * random.uniform(*shape.arc_turn)
    if turn == 0:
        return (_outline(random, centre, thickness, 0.03, random.uniform(*shape.notch)),)
    return _arc(random, centre, radius * shape.arc_radius, thickness, turn, random.choice(shape.lobes))


def _arc(random: Random, centre: Point, bend: float, thickness: float, turn: float, lobes: int) -> tuple[Outline, ...]:
    """Discs along an arc of ``turn`` radians, thin between its ``lobes``."""
    start = random.uniform(0, 2 * pi)
    steps = 12 * lobes
    discs = []
    for step in range(steps + 1):
        along = step / steps
        angle = start + turn * along
        waist = 0.5 - 0.5 * cos(2 * pi * lobes * along) if lobes > 1 else 0.8
        reach = bend * (1 + 0.12 * sin(3 * angle))
        at = (centre[0] + reach * cos(angle), centre[1] + reach * sin(angle))
        discs.append(_outline(random, at, thickness * (0.3 + 0.7 * waist), 0.02, points=24))
    return tuple(discs)


def _granules(random: Random, granules: Granules, centre: Point, radius: float) -> tuple[Granule, ...]:
    return tuple(
        Granule(
            centre=_inside(random, centre, radius),
            radius=random.uniform(*granules.radius),
            colour=_shifted(random.choice(granules.colours), random.uniform(-12, 12)),
        )
        for _ in range(random.randint(*granules.count))
    )


def _vacuoles(
    random: Random, count: tuple[int, int], centre: Point, radius: float, colour: Colour
) -> tuple[Granule, ...]:
    return tuple(
        Granule(centre=_inside(random, centre, 0.9 * radius), radius=random.uniform(0.010, 0.022), colour=colour)
        for _ in range(random.randint(*count))
    )


def _erythrocytes(random: Random, centre: Point, radius: float) -> tuple[tuple[Outline, Outline], ...]:
    """Neighbours that leave the cell in the middle free and hardly overlap one another."""
    placed: list[tuple[Point, float]] = []
    for _ in range(random.randint(12, 40)):
        at, reach = (random.uniform(-0.1, 1.1), random.uniform(-0.1, 1.1)), random.uniform(0.14, 0.19)
        clear_of_cell = hypot(at[0] - centre[0], at[1] - centre[1]) > 1.05 * (radius + reach)
        if clear_of_cell and all(hypot(at[0] - x, at[1] - y) > 0.9 * (reach + other) for (x, y), other in placed):
            placed.append((at, reach))
    return tuple(
        (_outline(random, at, reach, 0.05), _outline(random, at, reach * random.uniform(0.3, 0.5), 0.1))
        for at, reach in placed
    )


def _inside(random: Random, centre: Point, radius: float) -> Point:
    """A point of the disc, each part of it as likely as any other."""
    reach, angle = radius * random.random() ** 0.5, random.uniform(0, 2 * pi)
    return centre[0] + reach * cos(angle), centre[1] + reach * sin(angle)


def _draw_erythrocytes(canvas: Image.Image, cell: Cell) -> None:
    edges = _mask(canvas, [edge for edge, _ in cell.erythrocytes], blur=0.004)
    centres = _mask(canvas, [pale for _, pale in cell.erythrocytes], blur=0.02)
    tint = _between(ERYTHROCYTE, cell.background, 0.15)
    canvas.paste(tint, mask=edges)
    canvas.paste(_between(PALLOR, cell.background, 0.4), mask=ImageChops.multiply(edges, centres))


def _draw_body(canvas: Image.Image, cell: Cell) -> None:
    body = _mask(canvas, [cell.body], blur=0.005)
    layer = Image.new("RGB", canvas.size, cell.body_colour)
    layer.paste(_shifted(cell.body_colour, 24), mask=_grain(cell, canvas.width))
    _draw_dots(layer, cell.granules)
    _draw_dots(layer, cell.vacuoles)
    canvas.paste(layer, mask=body)


def _draw_nucleus(canvas: Image.Image, cell: Cell) -> None:
    if not cell.nucleus:
        return
    inside = ImageChops.multiply(_mask(canvas, cell.nucleus, blur=0.004), _mask(canvas, [cell.body], blur=0.004))
    layer = Image.new("RGB", canvas.size, cell.nucleus_colour)
    layer.paste(_shifted(cell.nucleus_colour, 52), mask=_grain(cell, canvas.width))
    rim = ImageChops.invert(_mask(canvas, cell.nucleus, blur=0.02))
    layer.paste(_shifted(cell.nucleus_colour, -16), mask=rim)
    canvas.paste(layer, mask=inside)


def _draw_granules(canvas: Image.Image, cell: Cell) -> None:
    layer = canvas.copy()
    _draw_dots(layer, cell.granules)
    canvas.paste(layer, mask=_mask(canvas, [cell.body], blur=0.003))


def _draw_dots(layer: Image.Image, dots: Sequence[Granule]) -> None:
    pen = ImageDraw.Draw(layer)
    for dot in dots:
        (x, y), reach = dot.centre, dot.radius
        box = [round(layer.width * edge) for edge in (x - reach, y - reach, x + reach, y + reach)]
        pen.ellipse(box, fill=dot.colour)


def _mask(canvas: Image.Image, outlines: Sequence[Outline], blur: float) -> Image.Image:
    """255 inside of any of ``outlines``, its edge blurred over ``blur`` of the side."""
    mask = Image.new("L", canvas.size)
    pen = ImageDraw.Draw(mask)
    for outline in outlines:
        pen.polygon([(round(canvas.width * x), round(canvas.width * y)) for x, y in outline], fill=255)
    return mask.filter(ImageFilter.BoxBlur(round(canvas.width * blur)))


def _grain(cell: Cell, side_px: int) -> Image.Image:
    grid = Image.frombytes("L", (GRAIN_CELLS, GRAIN_CELLS), cell.grain)
    return grid.resize((side_px, side_px), Image.Resampling.BICUBIC)


def _with_noise(pixels: ImageArray, seed: int) -> ImageArray:
    """The camera's: -3 to 3 on every value."""
    noise = np.frombuffer(Random(seed).randbytes(pixels.size), dtype=np.uint8).reshape(pixels.shape) % 7
    noisy: ImageArray = np.clip(pixels.astype(np.int16) + noise - 3, 0, 255).astype(np.uint8)
    return noisy


def _between(first: Colour, second: Colour, share: float) -> Colour:
    red, green, blue = (round(a + share * (b - a)) for a, b in zip(first, second, strict=True))
    return red, green, blue


def _shifted(colour: Colour, by: float) -> Colour:
    red, green, blue = (min(255, max(0, round(value + by))) for value in colour)
    return red, green, blue
