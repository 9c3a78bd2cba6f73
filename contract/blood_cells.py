"""The task: which classes there are, at which resolutions, and what the answer is not for."""

from __future__ import annotations

# BloodMNIST's order. "ig" are immature granulocytes (promyelocytes, myelocytes, metamyelocytes).
LABELS = (
    "basophil",
    "eosinophil",
    "erythroblast",
    "ig",
    "lymphocyte",
    "monocyte",
    "neutrophil",
    "platelet",
)
RESOLUTIONS_PX = (28, 64, 128, 224)
NOTICE = "Research use only. Not for diagnosis."
