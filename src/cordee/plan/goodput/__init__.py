"""What failures cost: how much of its time a cluster trains or answers, in closed form and by simulation."""
