"""TIMIT's 61 labels and the 48 and 39 classes that they are folded to.

Lee and Hon, Speaker-independent phone recognition using hidden Markov models, IEEE Trans. ASSP 37 (11), 1989: 48 classes
to train on, 39 to score. The glottal stop q is not modelled: it is left out of both, its time goes to what follows.
"""

LABELS = ("aa ae ah ao aw ax ax-h axr ay b bcl ch d dcl dh dx eh el em en eng epi er ey f g gcl h# hh hv ih ix iy jh k kcl "
          "l m n ng nx ow oy p pau pcl q r s sh t tcl th uh uw ux v w y z zh").split()
"""As labelled: 61, of which h# (at both ends) and pau are silences."""

TO_48 = {"ax-h": "ax", "axr": "er", "bcl": "vcl", "dcl": "vcl", "gcl": "vcl", "pcl": "cl", "tcl": "cl", "kcl": "cl", "em": "m",
         "eng": "ng", "nx": "n", "hv": "hh", "ux": "uw", "h#": "sil", "pau": "sil"}
"""Label -> class of 48, where they differ."""

TO_39 = {"ao": "aa", "ax": "ah", "ix": "ih", "el": "l", "en": "n", "zh": "sh", "cl": "sil", "vcl": "sil", "epi": "sil"}
"""Class of 48 -> class of 39, where they differ."""


def fold(label: str, classes: int) -> str | None:
    """A label as one of 61, 48 or 39 classes, silence as `sil`; None for what the classes leave out."""
    if classes == 61:
        return "sil" if label in ("h#", "pau") else label
    if label == "q":
        return None
    folded = TO_48.get(label, label)
    return folded if classes == 48 else TO_39.get(folded, folded)
