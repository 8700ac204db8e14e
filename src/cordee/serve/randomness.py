"""Random numbers that depend on where they are used, and on nothing that happened before.

A generator that runs along with an answer is lost with the process that held it. A number made from (seed, position)
can be made again by whoever goes on with the answer.
"""

_WORD = 2**64 - 1


def uniform(seed: int, position: int) -> float:
    """A number in [0, 1) for the token at `position` of the answer with `seed`; the same on every machine.

    Two rounds of SplitMix64's mixing (Steele, Lea and Flood, OOPSLA 2014, section 5), the upper 53 bits of it.
    """
    mixed = _mix(_mix(seed & _WORD) ^ (position & _WORD))
    return (mixed >> 11) * 2.0**-53


def _mix(word: int) -> int:
    word = (word + 0x9E3779B97F4A7C15) & _WORD
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & _WORD
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & _WORD
    return word ^ (word >> 31)
