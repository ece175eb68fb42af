"""Image files as arrays."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

#: Kinds of image files, by their suffix, that folders are searched for.
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".ppm", ".pgm")

#: Tag of EXIF that tells how a camera was held.
_ORIENTATION = 0x0112


def read_image(path: str | Path) -> np.ndarray:
    """Read an image file, of any kind that Pillow knows, as 8-bit RGB.

    Grey and palette images become RGB. An image with alpha is laid on black, as beyond the edges of an image. 16-bit
    grey is divided by 257, so that its full range fills 0 to 255. An image that a camera marked as turned (EXIF) is
    turned upright. Of several frames the first is taken.

    Returns:
        (H, W, 3) uint8.

    Raises:
        FileNotFoundError: naming the file. ValueError: naming the file, for a folder, for one that is no image, is
            cut short, or holds numbers without a known range (32-bit, floating point).

    Example:
        >>> from PIL import Image
        >>> from pcsargmax.io import read_image
        >>> Image.new("L", (4, 3), 200).save("grey.png")
        >>> image = read_image("grey.png")
        >>> image.shape, image.dtype, image[0, 0]  # height, width, RGB
        ((3, 4, 3), dtype('uint8'), array([200, 200, 200], dtype=uint8))
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    path = Path(path)
    if path.is_dir():
        raise ValueError(f"{path}: expected an image file, got a folder")
    if not path.is_file():
        raise FileNotFoundError(f"no such image: {path.absolute()}")
    try:
        with Image.open(path) as file:
            file.load()
            image = ImageOps.exif_transpose(file)
    except UnidentifiedImageError:
        raise ValueError(f"{path}: not an image of a kind that can be read") from None
    except (OSError, SyntaxError, EOFError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path}: the image cannot be read: {error}") from None
    return _to_rgb(image, path)


def image_size(path: str | Path) -> tuple[int, int] | None:
    """(height, width) that `read_image` will find, from the first bytes of a file; None where they do not say."""
    from PIL import Image

    try:
        with Image.open(path) as file:
            (width, height), turned = file.size, file.getexif().get(_ORIENTATION, 1) in (5, 6, 7, 8)
    except (OSError, SyntaxError, EOFError, ValueError, Image.DecompressionBombError):
        return None
    return (width, height) if turned else (height, width)


def _to_rgb(image: "Image.Image", path: Path) -> np.ndarray:
    from PIL import Image

    if image.mode.startswith("I"):
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError(f"{path}: expected 8 or 16 bits, got {image.mode} of {values.min()} to {values.max()}")
        grey = np.rint(values / 257).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if image.mode == "F":
        raise ValueError(f"{path}: expected 8 or 16 bits, got floating-point numbers, whose range is not known")
    try:
        if image.has_transparency_data:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image)
        return np.array(image.convert("RGB"))
    except ValueError as error:
        raise ValueError(f"{path}: the image cannot be made RGB: {error}") from None
