"""The mean over seeds and how sure it is: Student's interval."""

import math

T_975 = (12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.306, 2.2622, 2.2281, 2.201, 2.1788, 2.1604, 2.1448,
         2.1314, 2.1199, 2.1098, 2.1009, 2.093, 2.086, 2.0796, 2.0739, 2.0687, 2.0639, 2.0595, 2.0555, 2.0518, 2.0484,
         2.0452, 2.0423)
"""The 97.5 % quantile of Student's t with 1 to 30 degrees of freedom."""
Z_975 = 1.959964


def t_quantile(freedom: int) -> float:
    """The 97.5 % quantile of Student's t; above 30 degrees by its expansion about the normal one (Abramowitz and Stegun
    1964, 26.7.5), good to 1e-4."""
    if freedom <= len(T_975):
        return T_975[freedom - 1]
    z = Z_975
    return z + (z ** 3 + z) / (4 * freedom) + (5 * z ** 5 + 16 * z ** 3 + 3 * z) / (96 * freedom ** 2)


def t_interval(values: list[float]) -> tuple[float, float, float]:
    """Mean of two or more values, one a seed, and its 95 % interval: t with n - 1 degrees of freedom times the standard
    error of the mean (Student 1908)."""
    count = len(values)
    if count < 2:
        raise ValueError(f"{count} values have no spread; wanted: two or more")
    mean = math.fsum(values) / count
    variance = math.fsum((value - mean) ** 2 for value in values) / (count - 1)
    half = t_quantile(count - 1) * math.sqrt(variance / count)
    return mean, mean - half, mean + half
