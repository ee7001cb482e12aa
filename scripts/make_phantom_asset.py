"""Write the phantom's anatomical asset: grey/white matter maps and brain mask of ICBM 152 2009a (symmetric, 1 mm).

Usage: python scripts/make_phantom_asset.py [OUT.npz]. Needs nilearn, which carries the maps; the package itself does
not. The template is exactly symmetric, so that only the half x <= 0 is kept; `mrsynth.simulate.template` mirrors it
back.
"""

from __future__ import annotations

import sys
from importlib.resources import files
from pathlib import Path

import nibabel
import numpy as np

NAME = "mni_icbm152_{}_tal_nlin_sym_09a_converted.nii.gz"
MIDPLANE = 98  # index of x = 0 mm
CROP = (slice(22, MIDPLANE + 1), slice(20, 214), slice(0, 162))
ORIGIN_MM = (-98.0 + 22, -134.0 + 20, -72.0)


def read(kind: str) -> np.ndarray:
    """Return one map (uint8, 197x233x189, RAS+, origin (-98, -134, -72) mm); stops if it is not what was expected."""
    path = files("nilearn") / "datasets" / "data" / NAME.format(kind)
    image = nibabel.load(str(path))
    data = np.asanyarray(image.dataobj)
    assert data.shape == (197, 233, 189), data.shape
    assert np.allclose(image.affine, [[1, 0, 0, -98], [0, 1, 0, -134], [0, 0, 1, -72], [0, 0, 0, 1]])
    assert np.array_equal(data, data[::-1]), "the template is not symmetric"
    return data


def main() -> None:
    out = Path(sys.argv[1] if len(sys.argv) > 1 else "src/mrsynth/phantom/assets/icbm152_2009a.npz")
    grey, white, t1 = (read(kind) for kind in ("gm", "wm", "t1"))
    inside = np.zeros(grey.shape, bool)
    inside[20:177, CROP[1], CROP[2]] = True
    assert not t1[~inside].any(), "the crop cuts the brain"
    np.savez_compressed(
        out,
        grey=grey[CROP],
        white=white[CROP],
        brain=np.packbits(t1[CROP] > 0),
        origin_mm=np.array(ORIGIN_MM),
    )
    print(f"{out}: {out.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
