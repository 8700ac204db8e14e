"""What of an existing vLLM deployment works on Ascend, and what it looks like there."""
