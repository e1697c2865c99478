"""How durations are written."""


def duration(seconds: float) -> str:
    """Seconds in readable units: ``42 s``, ``3 min 10 s``, ``2 h 5 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def rough_duration(seconds: float) -> str:
    """An estimated time, no more precise than it is known: ``40 s``, ``3 min``, ``2 h 10 min``, ``3 days``."""
    if seconds < 55:
        return f"{max(5, 5 * round(seconds / 5))} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    tens = 10 * round(minutes / 10)
    if tens < 24 * 60:
        return f"{tens // 60} h {tens % 60} min" if tens % 60 else f"{tens // 60} h"
    days, hours = divmod(round(seconds / 3600), 24)
    return f"{days} d {hours} h" if hours else f"{days} d"
