"""What the sandbox's account uses: models, prices, the texts of errors, and the rhythm of its weeks.

Plain data and pure functions of time; nothing here draws or remembers.
"""

from typing import NamedTuple

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


class Model(NamedTuple):
    """One model: its catalogue entry, its share of the jobs, how often it fails, the shape of its results."""

    id: str
    label: str
    modality: str
    pricing: str
    costs: tuple[int, ...]
    share: float
    fails: float
    shape: str


MODELS = (
    Model("midjourney", "Midjourney", "image", "flat", (10,), 38, 0.03, "grid"),
    Model("flux-2-pro", "FLUX.2 Pro", "image", "flat", (6,), 13, 0.02, "url"),
    Model("nano-banana-pro", "Nano Banana Pro", "image", "per-output", (8, 16, 24, 32), 9, 0.04, "images"),
    Model("kling-2.6", "Kling 2.6", "video", "per-second", (35, 70), 9, 0.07, "video"),
    Model("suno-v5", "Suno v5", "music", "flat", (12,), 8, 0.03, "tracks"),
    Model("gpt-image-1.5", "GPT Image 1.5", "image", "per-output", (9, 18, 36), 6, 0.06, "images"),
    Model("seedream-4.5", "Seedream 4.5", "image", "flat", (5,), 5, 0.02, "url"),
    Model("veo-3.1", "Veo 3.1", "video", "per-second", (80, 160), 4, 0.09, "videos"),
    Model("runway-gen-4.5", "Runway Gen-4.5", "video", "per-second", (50, 100), 3, 0.06, "video"),
    Model("hailuo-2.3", "Hailuo 2.3", "video", "flat", (28,), 2, 0.08, "video"),
    Model("udio-1.5", "Udio 1.5", "music", "flat", (10,), 2, 0.05, "tracks"),
    Model("ideogram-v3", "Ideogram v3", "image", "per-output", (7, 14), 1, 0.03, "images"),
)

TURNAROUND_MS = {"image": (10_000, 60_000), "video": (60_000, 300_000), "music": (30_000, 120_000)}

# (text, weight); {token} is a reference of the provider's, different in every job.
ERRORS = (
    ("Prompt rejected by the content policy", 16),
    ("The image was flagged as NSFW by the provider's safety system", 8),
    ("Content moderation: prompt contains a banned word", 6),
    ("Provider error: upstream returned 502 Bad Gateway", 14),
    ("Provider error: service temporarily unavailable (ref {token})", 9),
    ("Internal provider error", 7),
    ("Generation timed out after 600 seconds", 12),
    ("Timeout waiting for the provider", 5),
    ("Invalid input: aspect_ratio must be one of 1:1, 16:9, 9:16", 8),
    ("Invalid image URL: could not download reference image", 6),
    ("Insufficient credits", 5),
    ("Something went wrong", 2),
    ("E{token}", 1),
)
PROVIDER_ERRORS = (3, 4, 5)
TIMEOUT_ERROR = 6

PROMPTS = (
    "a lighthouse at dusk, oil on canvas",
    "product photo of a ceramic mug, soft light",
    "an astronaut tending a rooftop garden",
    "isometric map of a small harbour town",
    "slow waltz for piano and rain",
    "paper-cut fox in a birch forest",
    "drone flight over terraced fields",
)
ASPECT_RATIOS = ("16:9", "1:1", "9:16")

_OF_DAY = (2, 1, 1, 1, 1, 2, 3, 5, 8, 10, 11, 11, 10, 11, 12, 12, 11, 9, 8, 7, 7, 6, 5, 3)
_OF_WEEK = (1.1, 1.2, 1.2, 1.15, 1.05, 0.65, 0.6)


def rhythm(at_ms: int) -> float:
    """How busy the account is at a moment, 1.0 being its mean over a week."""
    day, rest = divmod(at_ms, DAY_MS)
    weekday = (day + 3) % 7  # the epoch began on a Thursday
    return _OF_DAY[rest // HOUR_MS] * 24 / sum(_OF_DAY) * _OF_WEEK[weekday] * 7 / sum(_OF_WEEK)


BUSIEST = max(_OF_DAY) * 24 / sum(_OF_DAY) * max(_OF_WEEK) * 7 / sum(_OF_WEEK)


def bad_day(now_ms: int, days: int) -> int:
    """When the bad day began: a Tuesday one to two weeks ago, or halfway back in a shorter history."""
    today = now_ms // DAY_MS
    ago = 7 + (today + 2) % 7
    return (today - (ago if ago < days else days // 2)) * DAY_MS


def shares(mix: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The models' shares (older half, newer half) of a named mix: usual, equal, one60 or changed."""
    ten = len(MODELS) - 10
    if mix == "usual":
        usual = tuple(model.share for model in MODELS)
        return usual, usual
    if mix == "equal":
        equal = (1.0,) * 10 + (0.0,) * ten
        return equal, equal
    if mix == "one60":
        one = (60.0,) + (40 / 9,) * 9 + (0.0,) * ten
        return one, one
    if mix == "changed":
        half, none = (40.0, 25.0, 20.0, 10.0, 5.0), (0.0,) * 5
        return (*half, *none, *(0.0,) * ten), (*none, *half, *(0.0,) * ten)
    raise ValueError(f"unknown mix {mix!r}: usual, equal, one60 or changed")
