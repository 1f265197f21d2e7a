def test_a_display_whose_reader_has_left_goes_on_without_a_word(run_python):
    work = """
import sys
from alpaca_lora.training.progress import Progress
with Progress(True) as display:
    display.stage("one")
    display.stage("two")
print("a plain line", file=sys.stderr)
print("done")
"""
    code = (
        "import subprocess, sys; command = [sys.executable, '-c', sys.argv[1]];"
        "child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE);"
        "child.stderr.close(); print(child.stdout.read().decode(), child.wait())"
    )
    assert run_python("-c", code, work).stdout == "done\n 0\n"


def test_a_reader_that_stays_reads_everything(capfd):
    from alpaca_lora._console import Console

    console = Console()
    console.print("one")
    console.print("two")
    assert capfd.readouterr().out == "one\ntwo\n"
