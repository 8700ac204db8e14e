"""Training whose loop belongs to someone else: a plain DDP script, Hugging Face's Trainer, Lightning."""
