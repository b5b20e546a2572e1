"""What (epsilon, delta)-differential privacy permits whoever asks if a person or a text took part.

Whoever decides by a mechanism's output has, with the hypotheses exchanged too (Kairouz, Oh, Viswanath: The
Composition Theorem for Differential Privacy, ICML 2015, arXiv 1311.0776),

    TPR <= e^epsilon FPR + delta    and    1 - FPR <= e^epsilon (1 - TPR) + delta.

No attack's ROC curve lies above these two lines; a measured one may by chance, or where what was attacked is
not what the guarantee is of.
"""

from __future__ import annotations

import math


def largest_tpr(fpr: float, epsilon: float, delta: float) -> float:
    """Returns the largest rate of true positives at a rate of false ones, all in [0, 1].

    Args:
        fpr: The rate of false positives.
        epsilon: 0 or more, infinite for no guarantee.
        delta: In [0, 1].

    >>> largest_tpr(0.01, 0.0, 0.0), round(largest_tpr(0.01, 1.0, 1e-5), 4)
    (0.01, 0.0272)
    """
    shrink = math.exp(-epsilon)  # e^epsilon itself may be too large for a float
    first = math.inf if shrink == 0 else fpr / shrink + delta
    if epsilon == math.inf:
        first = 1.0
    return min(1.0, first, 1 - shrink * max(0.0, 1 - delta - fpr))


def largest_auc(epsilon: float, delta: float) -> float:
    """Returns the largest area under an ROC curve, in [0.5, 1].

    The two lines meet at FPR = (1 - delta) / (1 + e^epsilon). The area below them is
    1 - (1 - delta)^2 / (1 + e^epsilon).

    Args:
        epsilon: 0 or more, infinite for no guarantee.
        delta: In [0, 1].

    >>> largest_auc(0.0, 0.0), largest_auc(float("inf"), 0.0)
    (0.5, 1.0)
    """
    shrink = math.exp(-epsilon)
    return 1 - (1 - delta) ** 2 * shrink / (1 + shrink)
