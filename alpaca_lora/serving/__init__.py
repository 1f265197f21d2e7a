"""Answers from a trained adapter: for a program, for a person at a terminal, and on a web page."""

from alpaca_lora.serving.assistant import Assistant
from alpaca_lora.serving.chat import Chat
from alpaca_lora.serving.loading import load

__all__ = ["Assistant", "Chat", "load"]
