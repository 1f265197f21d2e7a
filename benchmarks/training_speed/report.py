"""A result file as a table in benchmarks/README.md and as a chart.

Run:  python benchmarks/training_speed/report.py RESULT.json     (`make bench` does it at its end)
"""

import argparse
import html
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import results

README = Path(__file__).parents[1] / "README.md"
TITLES = {
    "ours": "alpaca-lora",
    "unsloth": "Unsloth",
    "trl": "TRL",
    "llamafactory": "LLaMA-Factory",
    "litgpt": "LitGPT",
    "axolotl": "Axolotl",
}
MODES = ("defaults", "tuned", "lean")
Line = Mapping[str, Any]


def name_of(content: Mapping[str, Any]) -> str:
    """Return the name of the markers and of the chart of a result."""
    place = results.place_of(content)
    return f"training_speed_{'' if place['device'] == 'cpu' else 'cuda_'}{place['weights']}"


def ordered(lines: Sequence[Line]) -> list[Line]:
    """Return the lines by mode, the fastest first, those without a speed last."""
    return sorted(lines, key=lambda line: (MODES.index(line["mode"]), -line.get("tokens_per_second", 0.0)))


def ratio(line: Line, lines: Sequence[Line]) -> float | None:
    """Return how many times as fast as this line our own of the same mode is."""
    ours = [other for other in lines if other["tool"] == "ours" and other["mode"] == line["mode"]]
    if not ours or "tokens_per_second" not in line or "tokens_per_second" not in ours[0]:
        return None
    return float(ours[0]["tokens_per_second"] / line["tokens_per_second"])


def table(lines: Sequence[Line]) -> str:
    """Return the lines as a Markdown table."""
    rows = [
        "| tool | mode | real tokens/s (slowest – fastest round) | ours is … × as fast | of the matrix rate "
        "| peak memory | first step after | held-out loss | gate |",
        "|---|---|--:|--:|--:|--:|--:|--:|---|",
    ]
    return "\n".join(rows + [_row(line, lines) for line in ordered(lines)])


def _row(line: Line, lines: Sequence[Line]) -> str:
    head = f"| {TITLES[line['tool']]} | {line['mode']} |"
    if "error" in line:
        return f"{head} does not run | | | | | | {_cell(line['error'])} |"
    times = ratio(line, lines)
    fast = "gate failed"
    if "tokens_per_second" in line:
        fast = f"**{line['tokens_per_second']:.0f}** ({line['slowest']:.0f} – {line['fastest']:.0f})"
    share = f"{line['matrix_share']:.0%}" if "matrix_share" in line else ""
    gate = "passed" if not line["faults"] else _cell("; ".join(sorted(set(line["faults"]))))
    return (
        f"{head} {fast} | {'' if times is None else f'{times:.2f}'} | {share} | {line['peak_bytes'] / 2**30:.2f} GiB "
        f"| {line['first_step_seconds']:.0f} s | {line['heldout_loss']:.4f} | {gate} |"
    )


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def section(content: Mapping[str, Any]) -> str:
    """Return what stands between the markers: where and what was measured, and the table."""
    machine, workload, reference = content["machine"], content["workload"], content["reference"]
    weights = results.place_of(content)["weights"]
    device = f"{machine['cores']} cores of {machine['cpu']} ({', '.join(machine['flags'])})"
    if content.get("device") == "cuda":
        device = f"{machine['gpu']['name']}, {content['memory_gib']:.0f} GiB of it, {workload['base']}"
    counts = Counter((cell["tool"], cell["mode"]) for cell in content["cells"]).values()
    rounds = " to ".join(str(count) for count in sorted({min(counts, default=0), max(counts, default=0)}))
    torch = sorted({cell["versions"]["torch"] for cell in content["cells"] if "versions" in cell})
    commit = content["commit"]["commit"][:12] + (" with changes" if content["commit"]["modified"] else "")
    return "\n".join(
        [
            f"{content['date']}, {device}, {weights}, torch {', '.join(torch)}, commit {commit}. "
            f"{workload['rows']} rows, {sum(workload['step_tokens']):,} real tokens in {len(workload['step_tokens'])} "
            f"steps, sha256 `{workload['sha256'][:16]}`; medians of {rounds} rounds. Held-out loss: "
            f"{reference['start_loss']:.4f} at the start, {reference['heldout_loss']:.4f} after the same steps in "
            "float32.",
            "",
            table(results.summarise(content)),
            "",
            f"![Real tokens per second by tool](training_speed/{name_of(content)}.svg)",
        ]
    )


def chart(lines: Sequence[Line]) -> str:
    """Return a bar chart of the speeds as SVG."""
    shown = [line for line in ordered(lines) if "tokens_per_second" in line]
    top = max((line["tokens_per_second"] for line in shown), default=1.0)
    height, left, width = 26, 190, 640
    parts = []
    for index, line in enumerate(shown):
        y, length = 8 + index * height, (width - left - 70) * line["tokens_per_second"] / top
        label = html.escape(f"{TITLES[line['tool']]}, {line['mode']}")
        colour = "#b4532a" if line["tool"] == "ours" else "#8a949e"
        parts.append(f'<text x="{left - 8}" y="{y + 15}" text-anchor="end">{label}</text>')
        parts.append(f'<rect x="{left}" y="{y}" width="{length:.1f}" height="{height - 6}" fill="{colour}"/>')
        parts.append(f'<text x="{left + length + 6:.1f}" y="{y + 15}">{line["tokens_per_second"]:.0f}</text>')
    size = f"0 0 {width} {16 + len(shown) * height}"
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{size}" role="img" font-family="sans-serif" font-size="13" '
        f'aria-label="Real tokens per second by tool"><rect width="100%" height="100%" fill="#fff"/>\n{body}\n</svg>\n'
    )


def between(text: str, begin: str, end: str, inner: str) -> str:
    """Return a text with what stands between two markers replaced."""
    before, found_begin, rest = text.partition(begin)
    _, found_end, after = rest.partition(end)
    if not found_begin or not found_end:
        raise ValueError(f"the text lacks {begin} or {end}")
    return f"{before}{begin}\n{inner}\n{end}{after}"


def replace(name: str, inner: str) -> None:
    """Write a section of the README between the markers of its name."""
    text = between(README.read_text(encoding="utf-8"), f"<!-- {name}:begin -->", f"<!-- {name}:end -->", inner)
    README.write_text(text, encoding="utf-8")


def publish_table(name: str, content: Mapping[str, Any], text: str) -> None:
    """Write a result file of `ablation.py` or `scaling.py`, and its table into the README."""
    results.write(Path(__file__).parent / "results" / name / f"{content['date']}.json", content)
    replace(f"training_{name}", text)


def publish(content: Mapping[str, Any]) -> None:
    """Write the table into the README and the chart beside the results."""
    name = name_of(content)
    replace(name, section(content))
    (Path(__file__).parent / f"{name}.svg").write_text(chart(results.summarise(content)), encoding="utf-8")


if __name__ == "__main__":
    _parser = argparse.ArgumentParser()
    _parser.add_argument("result", type=Path)
    publish(results.read(_parser.parse_args().result))
