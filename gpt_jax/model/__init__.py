"""The model: `gpt.py` is the file to read first."""
