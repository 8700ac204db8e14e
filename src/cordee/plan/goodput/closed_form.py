"""Goodput by formulas: checkpoint intervals, lost work, spares.

All take failures to come at a constant rate. The simulation of this package agrees with them where they hold.
"""

from math import ceil, exp, expm1, inf, lgamma, log, sqrt

from cordee.plan.goodput.cluster import HOUR_S, Checkpoint, Cluster, Recovery

GOLDEN = (sqrt(5) - 1) / 2


def young_s(write_s: float, between_s: float) -> float:
    """Work between two checkpoints, to first order (Young, A first order approximation to the optimum
    checkpoint interval, CACM 17(9), 1974)."""
    return sqrt(2 * write_s * between_s)


def daly_s(write_s: float, between_s: float) -> float:
    """The same to higher order (Daly, A higher order estimate of the optimum checkpoint interval for
    restart dumps, FGCS 22(3), 2006, equation 37)."""
    if write_s >= 2 * between_s:
        return between_s
    part = write_s / (2 * between_s)
    return sqrt(2 * write_s * between_s) * (1 + sqrt(part) / 3 + part / 9) - write_s


def restarted(checkpoint: Checkpoint, down_s: float, between_s: float) -> float:
    """The part of the time that counts where every failure throws the job back to its last checkpoint.

    Exact for failures at a constant rate, also while it writes or restarts (Daly 2006, equation 20).
    """
    whole_s = checkpoint.every_s + checkpoint.write_s
    if (whole_s + down_s) / between_s > 700:  # less than can be written as a number
        return 0.0
    return checkpoint.every_s / (between_s * exp(down_s / between_s) * expm1(whole_s / between_s))


def ettr(checkpoint: Checkpoint, down_s: float, between_s: float) -> float:
    """The same to first order, as Meta reckons (arXiv:2410.21680, section II.D). 0 where that fails."""
    lost_s = down_s + checkpoint.every_s / 2
    overhead = 1 + checkpoint.write_s / checkpoint.every_s
    return max(0.0, (1 - lost_s / between_s) / overhead)


def best_interval_s(write_s: float, between_s: float) -> float:
    """The interval for which `restarted` is highest; where to restart does not depend on how long that takes."""

    def cost(logarithm: float) -> float:
        made = restarted(Checkpoint(every_s=exp(logarithm), write_s=write_s), 0.0, between_s)
        return -made

    low, high = log(max(write_s, 1e-3) / 100), log(max(10 * between_s, write_s))
    while high - low > 1e-4:
        left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
        if cost(left) < cost(right):
            high = right
        else:
            low = left
    return exp((low + high) / 2)


def poisson(count: int, mean: float) -> float:
    """How likely so many are."""
    if mean <= 0:
        return float(count == 0)
    return exp(count * log(mean) - mean - lgamma(count + 1))


def likely(mean: float) -> range:
    """All numbers that are not wholly unlikely."""
    return range(max(0, int(mean - 9 * sqrt(mean)) - 9), int(mean + 9 * sqrt(mean)) + 20)


def poisson_at_most(count: int, mean: float) -> float:
    """How likely so many or fewer are."""
    return min(1.0, sum(poisson(number, mean) for number in likely(mean) if number <= count))


def spares_for(mean: float, surety: float) -> int:
    """How many must stand by so that with this probability none is missing, where `mean` are in repair.

    However long repairs take, the number in repair is a Poisson number (Palm's theorem: Feeney and Sherbrooke,
    The (s-1, s) inventory policy under compound Poisson demand, Management Science 12(5), 1966).
    """
    low, high = -1, 1
    while poisson_at_most(high, mean) < surety:
        high *= 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if poisson_at_most(middle, mean) >= surety else (middle, high)
    return high


def missing(mean: float, spares: int) -> float:
    """How many are missing on average beyond the spares, where `mean` are in repair."""
    return sum(poisson(out, mean) * max(0, out - spares) for out in likely(mean))


def in_place(cluster: Cluster, recovery: Recovery, checkpoint: Checkpoint) -> float:
    """The part of the time that counts where the others go on at the step at which one fell.

    A stop that is struck again begins anew, as in `restarted`; one is made for the loss and one when another
    replica comes in. Replicas that are missing for want of spares slow the others down.
    """
    rate = cluster.failures_per_s
    up = exp(-rate * (recovery.down_s + recovery.resume_s))
    return up * _pace(cluster, recovery) * (1 - checkpoint.share)


def _pace(cluster: Cluster, recovery: Recovery) -> float:
    """The mean speed as a part of that with all: one node too few is one replica too few, as are those coming in."""
    nodes = max(1.0, cluster.group_chips / cluster.node_chips)
    spare = cluster.spare_chips // cluster.node_chips
    mean = cluster.broken_nodes
    entering = min(1.0, cluster.failures_per_s * (recovery.feed_s + cluster.step_s / 2))
    total = 0.0
    for out in likely(mean):
        replicas = ceil(max(0, out - spare) / nodes) * _replicas_of_node(cluster)
        left = max(cluster.least_groups, cluster.groups - replicas)
        fewer = max(cluster.least_groups, left - 1)
        pace = (1 - entering) * cluster.pace(left) + entering * cluster.pace(fewer)
        total += poisson(out, mean) * pace
    return total


def _replicas_of_node(cluster: Cluster) -> int:
    return max(1, cluster.node_chips // cluster.group_chips)


def between_s(cluster: Cluster) -> float:
    """Mean seconds between failures of the chips that train."""
    return 1 / cluster.failures_per_s if cluster.rates.total else inf


def hourly(cluster: Cluster) -> float:
    """Failures of the chips that train in an hour."""
    return cluster.failures_per_s * HOUR_S
