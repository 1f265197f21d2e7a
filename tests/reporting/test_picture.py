import random
import struct
import sys
from pathlib import Path

import pytest

from alpaca_lora.errors import MissingDependencyError
from alpaca_lora.reporting.picture import draw_loss

pytest.importorskip("matplotlib", reason="the plots extra is not installed")


def test_the_picture_is_a_png_of_the_stated_size(tmp_path: Path, metrics: list[dict[str, float]]) -> None:
    draw_loss(metrics, tmp_path / "loss.png")
    content = (tmp_path / "loss.png").read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", content[16:24]) == (1200, 675)


def test_equal_metrics_give_equal_bytes_whatever_the_users_style(
    tmp_path: Path, metrics: list[dict[str, float]]
) -> None:
    import matplotlib

    draw_loss(metrics, tmp_path / "first.png")
    with matplotlib.rc_context({"lines.linewidth": 9, "figure.facecolor": "black", "font.size": 30}):
        draw_loss(metrics, tmp_path / "second.png")
        assert matplotlib.rcParams["font.size"] == 30
    assert (tmp_path / "first.png").read_bytes() == (tmp_path / "second.png").read_bytes()


def test_another_run_gives_another_picture(tmp_path: Path, metrics: list[dict[str, float]]) -> None:
    draw_loss(metrics, tmp_path / "first.png")
    draw_loss(metrics[:-1], tmp_path / "second.png")
    assert (tmp_path / "first.png").read_bytes() != (tmp_path / "second.png").read_bytes()


def test_no_metrics_and_few_metrics_can_be_drawn(tmp_path: Path) -> None:
    draw_loss([], tmp_path / "none.png")
    draw_loss([{"step": 1, "loss": 2.0}], tmp_path / "one.png")
    draw_loss([{"step": 0, "heldout_loss": 2.0}, {"step": 1, "loss": float("nan")}], tmp_path / "before.png")
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 3


def test_a_long_noisy_run_stays_below_150_kilobytes(tmp_path: Path) -> None:
    source = random.Random(0)
    draw_loss([{"step": step, "loss": source.uniform(1, 3)} for step in range(3000)], tmp_path / "loss.png")
    assert (tmp_path / "loss.png").stat().st_size < 150_000


def test_the_picture_needs_no_window_system(tmp_path: Path, run_python) -> None:
    code = f"""
import sys
from pathlib import Path
from alpaca_lora.reporting.picture import draw_loss
draw_loss([], Path({str(tmp_path / "loss.png")!r}))
print("matplotlib.pyplot" in sys.modules)
"""
    done = run_python("-c", code)
    assert (done.stdout, done.returncode) == ("False\n", 0), done.stderr


def test_without_matplotlib_the_error_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingDependencyError) as raised:
        draw_loss([], tmp_path / "loss.png")
    assert str(raised.value) == "matplotlib is not installed: run  pip install 'alpaca-lora[plots]'"
    assert not (tmp_path / "loss.png").exists()
