r"""Prompt templates: a record to the exact text a model reads, and generated text back to the response.

"The Alpaca template" is not one string. For one and the same record without input, the well-known trainers and servers
produce eight different byte strings: nothing, a newline, a space or `\r\n` after `### Response:`, another preamble,
another indentation, an empty input section. A model trained on one and asked with another answers worse, and nothing
says so. Hence a template is data with a digest, rendered here for training, evaluation, chat, Jinja and Ollama alike,
and the byte after the response heading is part of its name: `alpaca` ends in a newline, as alpaca-lora published it,
and `alpaca_legacy` does not, as Stanford did.

Standard library only, so that a project which merely formats prompts can afford to import it.
"""

from alpaca_lora.prompts.catalog import available_templates, load_template
from alpaca_lora.prompts.prompter import Prompter
from alpaca_lora.prompts.template import Template

__all__ = ["Prompter", "Template", "available_templates", "load_template"]
