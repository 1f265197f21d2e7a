"""The whole recipe as stages with one manifest, and the proof that it was followed."""
