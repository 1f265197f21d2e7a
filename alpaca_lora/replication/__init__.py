"""The whole recipe: is a directory what it claims to be?"""

from alpaca_lora.replication.findings import Finding, VerificationResult
from alpaca_lora.replication.verification import verify

__all__ = ["Finding", "VerificationResult", "verify"]
