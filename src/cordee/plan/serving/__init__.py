"""Inference as a planner sees it: how an engine is spread, what it holds, its passes and its queue."""
