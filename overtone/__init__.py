"""Overtone: a self-hosted tuning service that speaks the Gemini API."""

import sys

__version__ = "0.1.0"

if sys.platform == "win32":
    sys.exit("overtone: Windows is not supported. Run Overtone on Linux or macOS, or in WSL on this machine.")
