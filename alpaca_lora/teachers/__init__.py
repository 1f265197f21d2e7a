"""Models that write, answer and judge tasks: what they are asked, what they answer, what that costs.

Light: `openai` is imported when an endpoint is made. The teacher that runs here is `models.LocalTeacher`.
"""

from alpaca_lora.teachers.endpoint import OPENAI_URL, OpenAITeacher
from alpaca_lora.teachers.prices import FREE, Price, default_price_file, find_price
from alpaca_lora.teachers.protocol import Answer, Fault, Request, Teacher, Usage
from alpaca_lora.teachers.stored import StoredTeacher

__all__ = [
    "FREE",
    "OPENAI_URL",
    "Answer",
    "Fault",
    "OpenAITeacher",
    "Price",
    "Request",
    "StoredTeacher",
    "Teacher",
    "Usage",
    "default_price_file",
    "find_price",
]
