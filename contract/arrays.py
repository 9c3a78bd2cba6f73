"""The array types that cross a stage's border."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
ImageArray = NDArray[np.uint8]
LabelArray = NDArray[np.uint8]
