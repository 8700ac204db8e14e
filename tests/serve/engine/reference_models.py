"""Which models reference.py makes, and what they are asked."""

FAMILIES = ("llama", "llama3", "llama-linear", "mistral", "qwen2", "qwen3", "qwen3_moe", "gpt2")
PROMPTS = ([7, 300, 2, 2, 41, 9], list(range(3, 100)), [11])
