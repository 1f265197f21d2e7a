"""Render a chat template that somebody else wrote.

A chat template is a program. transformers runs it in a sandbox, which keeps it from the machine but not from the
processor: 27 bytes make a text of 200 MB, two loops run for minutes. So it is rendered in a process of its own with
little time and memory, by the very function that transformers' tokenizers call.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from alpaca_lora.errors import ExportError

__all__ = ["render_chats"]

_SECONDS = 60
"""Longest wait for the process, most of which is its start; what it may compute is limited below."""

_CHILD = """
import json, resource, signal, sys
from transformers.utils.chat_template_utils import render_jinja_template

job = json.load(sys.stdin)
signal.signal(signal.SIGPROF, signal.SIG_DFL)  # which ends the process, whatever its parent did with the signal
signal.setitimer(signal.ITIMER_PROF, 1)
resource.setrlimit(resource.RLIMIT_DATA, (600 * 2**20,) * 2)
texts = []
for messages in job["chats"]:
    [text], _ = render_jinja_template([messages], chat_template=job["template"], **job["names"])
    if len(text) > 16 * len(json.dumps(messages)) + 2**16:
        raise ValueError(f"it makes {len(text)} characters of a short message")
    texts.append(text)
json.dump(texts, sys.stdout)
"""


def render_chats(template: str, chats: Sequence[Any], names: Mapping[str, Any]) -> list[str]:
    """Return the text that a chat template makes of each chat.

    Args:
        template: a Jinja template, as transformers takes it.
        chats: a list of messages each.
        names: what else the template may name: the special tokens and `add_generation_prompt`.

    Raises:
        ExportError: the template fails, takes more than a second or 600 MB, or makes a text out of all proportion.
    """
    job = json.dumps({"template": template, "chats": list(chats), "names": dict(names)})
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-P", "-c", _CHILD]
    try:
        done = subprocess.run(  # noqa: S603
            command, input=job, capture_output=True, text=True, env=environment, timeout=_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise ExportError("the chat template takes too long") from error
    said = (done.stderr.strip().splitlines() or ["the chat template failed"])[-1][:300]
    if done.returncode < 0 or said == MemoryError.__name__:
        raise ExportError("the chat template takes too much time or memory")
    if done.returncode != 0:
        raise ExportError(said)
    texts: list[str] = json.loads(done.stdout)
    return texts
