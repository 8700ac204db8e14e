"""The gateway: streams that outlive the replicas that make them."""
