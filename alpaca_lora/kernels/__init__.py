"""The fast path of training: each file one lever, with the reason, the maths and the source; `apply` decides.

The kernels are autograd functions on PEFT's own parameters. They change what is computed in which order, never what is
learned: gradients agree with those of PEFT and transformers to the rounding of the number format.
"""

from alpaca_lora.kernels.fast_path import FastPath, apply

__all__ = ["FastPath", "apply"]
