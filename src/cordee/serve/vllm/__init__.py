"""What belongs to vLLM: how it is started, and the plug-in by which its answers can be continued."""
