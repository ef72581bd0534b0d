"""Names for the arrays that pass between the modules."""

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float64]
Labels = NDArray[np.int64]
HeatMap = NDArray[np.float32]
