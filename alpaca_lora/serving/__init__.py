"""Answers from a trained adapter: for a program, and for a person at a terminal."""

from alpaca_lora.serving.assistant import Assistant, load
from alpaca_lora.serving.chat import Chat

__all__ = ["Assistant", "Chat", "load"]
