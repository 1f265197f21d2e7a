"""The loss of a run as loss.png."""

import io
from pathlib import Path
from typing import Any

from alpaca_lora import _files
from alpaca_lora._optional import require
from alpaca_lora.reporting.curve import LossCurve, read_loss_curve
from alpaca_lora.reporting.summary import Metrics
from alpaca_lora.reporting.wording import loss_value

__all__ = ["draw_loss"]

_INK, _QUIET, _GRID = "#1d2733", "#5c6b7a", "#e6eaee"
_TRAINING, _HELDOUT = "#2f6f9f", "#c8571b"


def draw_loss(metrics: Metrics, path: Path) -> None:
    """Draw training and held-out loss over the optimizer steps, 1200×675 pixels.

    Equal metrics give equal bytes: the user's matplotlib settings, the date and the version stay out.

    Args:
        metrics: lines of metrics.jsonl; without any, the picture says so.
        path: the PNG file to write.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    require("matplotlib", extra="plots")
    agg = require("matplotlib.backends.backend_agg", extra="plots")
    with require("matplotlib.style", extra="plots").context("default"):
        figure = require("matplotlib.figure", extra="plots").Figure(figsize=(8, 4.5), dpi=150, layout="constrained")
        axes = figure.add_subplot()
        _draw_frame(axes)
        _draw_curve(axes, read_loss_curve(metrics))
        canvas = agg.FigureCanvasAgg(figure)
        canvas.draw()
    _files.write_bytes(path, _encode(canvas.get_width_height(), bytes(canvas.buffer_rgba())))


def _encode(size: tuple[int, int], pixels: bytes) -> bytes:
    """Encode RGBA pixels as PNG with a palette, which is half as large, and without any metadata."""
    image = require("PIL.Image", extra="plots").frombytes("RGBA", size, pixels)
    content = io.BytesIO()
    image.convert("RGB").quantize(128).save(content, format="png", optimize=True)
    return content.getvalue()


def _draw_frame(axes: Any) -> None:
    axes.set_xlabel("optimizer step", color=_QUIET)
    axes.set_ylabel("loss (nats per token)", color=_QUIET)
    axes.grid(color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=_QUIET, length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(_GRID)


def _draw_curve(axes: Any, curve: LossCurve) -> None:
    if not curve.training and not curve.heldout:
        axes.text(0.5, 0.5, "no losses were logged", transform=axes.transAxes, ha="center", color=_QUIET)
        return
    if curve.training:
        axes.plot(*zip(*curve.training, strict=True), color=_TRAINING, linewidth=0.7, alpha=0.35)
        axes.plot(*zip(*curve.smoothed, strict=True), color=_TRAINING, linewidth=2, label="training, smoothed")
    if curve.heldout:
        axes.plot(
            *zip(*curve.heldout, strict=True),
            color=_HELDOUT,
            linewidth=1.4,
            linestyle="--",
            marker="o",
            markersize=5.5,
            markeredgecolor="white",
            label="held-out rows",
            clip_on=False,
            zorder=3,
        )
        for point in {curve.heldout[0], curve.heldout[-1]}:
            axes.annotate(
                loss_value(point.value),
                point,
                xytext=(0, 9),
                textcoords="offset points",
                ha="center",
                color=_HELDOUT,
                fontweight="bold",
                fontsize=9,
                bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1},
            )
    axes.margins(x=0.03)
    axes.legend(frameon=False, labelcolor=_INK, loc="upper right")
