"""The command as a process of its own, to which signals can be sent."""

import os
import re
import subprocess
import sys
import urllib.request

import pytest

MAIN = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has it ignored for what runs in its background
from alpaca_lora.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def start(repository):
    """Start the command; whatever still runs at the end of the test is killed."""
    started = []

    def run(*arguments):
        environment = {**os.environ, "PYTHONPATH": str(repository)}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        started.append(subprocess.Popen([sys.executable, "-c", MAIN, *arguments], **pipes, env=environment))
        return started[-1]

    yield run
    for child in started:
        with child:
            child.kill()


@pytest.fixture
def opened():
    """Open the page whose address stands in a line, so that it is surely served."""

    def visit(line):
        assert (address := re.match(r"open (http://127\.0\.0\.1:\d+) ", line)), line
        with urllib.request.urlopen(address[1], timeout=60) as answer:
            assert answer.status == 200

    return visit
