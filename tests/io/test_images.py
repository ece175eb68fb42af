import numpy as np
import pytest
from PIL import Image

from pcsargmax.io.images import read_image

COLORS = np.array([[[10, 20, 30], [40, 50, 60], [70, 80, 90]], [[1, 2, 3], [4, 5, 6], [7, 8, 9]]], np.uint8)


def save(path, array):
    Image.fromarray(array).save(path)
    return path


def test_rgb(tmp_path):
    image = read_image(save(tmp_path / "a.png", COLORS))
    assert image.dtype == np.uint8
    assert np.array_equal(image, COLORS)
    assert image.flags.writeable


def test_grey_bilevel_and_palette(tmp_path):
    grey = COLORS[..., 0]
    expected = np.repeat(grey[..., None], 3, axis=2)
    assert np.array_equal(read_image(save(tmp_path / "grey.png", grey)), expected)
    assert np.array_equal(read_image(save(tmp_path / "bits.png", grey > 5)), np.where(expected > 5, 255, 0))
    palette = Image.fromarray(COLORS).quantize(6)
    assert palette.mode == "P"
    palette.save(tmp_path / "palette.png")
    assert np.abs(read_image(tmp_path / "palette.png").astype(int) - COLORS).max() <= 1
    Image.fromarray(COLORS).convert("CMYK").save(tmp_path / "cmyk.tif")
    assert np.abs(read_image(tmp_path / "cmyk.tif").astype(int) - COLORS).max() <= 1


def test_alpha_is_laid_on_black(tmp_path):
    alpha = np.array([[255, 0, 128], [255, 255, 0]], np.uint8)[..., None]
    path = save(tmp_path / "a.png", np.concatenate([COLORS, alpha], axis=2))
    assert np.abs(read_image(path) - COLORS * (alpha / 255)).max() <= 0.5
    path = save(tmp_path / "la.png", np.concatenate([COLORS[..., :1], alpha], axis=2))
    assert np.abs(read_image(path) - COLORS[..., :1] * (alpha / 255)).max() <= 0.5
    palette = Image.fromarray(COLORS[..., 0]).convert("P")
    palette.save(tmp_path / "p.png", transparency=10)
    assert read_image(tmp_path / "p.png")[..., 0].tolist() == [[0, 40, 70], [1, 4, 7]]


def test_sixteen_bits_fill_the_range(tmp_path):
    values = np.array([[0, 65535, 257 * 3], [257 * 7 + 128, 257 * 7 + 129, 32768]], np.uint16)
    for name in ("a.png", "a.tif"):
        image = read_image(save(tmp_path / name, values))
        assert image[..., 2].tolist() == [[0, 255, 3], [7, 8, 128]]
    Image.fromarray(values.astype(np.int32)).save(tmp_path / "i.tif")
    assert read_image(tmp_path / "i.tif")[..., 0].tolist() == [[0, 255, 3], [7, 8, 128]]


def test_numbers_without_a_known_range(tmp_path):
    Image.fromarray(np.array([[0, 70000]], np.int32)).save(tmp_path / "i.tif")
    with pytest.raises(ValueError, match=r"i\.tif: expected 8 or 16 bits, got I of 0 to 70000"):
        read_image(tmp_path / "i.tif")
    Image.fromarray(np.array([[0, 0.5]], np.float32)).save(tmp_path / "f.tif")
    with pytest.raises(ValueError, match=r"f\.tif: expected 8 or 16 bits, got floating-point numbers"):
        read_image(tmp_path / "f.tif")


def test_a_turned_camera(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # shown after a quarter turn clockwise
    Image.fromarray(COLORS).save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(read_image(tmp_path / "a.png"), np.rot90(COLORS, -1))


def test_files_that_are_no_images(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no such image: /.*gone\.png"):
        read_image(tmp_path / "gone.png")
    with pytest.raises(ValueError, match="expected an image file, got a folder"):
        read_image(tmp_path)
    (tmp_path / "text.png").write_text("file,x0,y0\n")
    with pytest.raises(ValueError, match=r"text\.png: not an image of a kind that can be read"):
        read_image(tmp_path / "text.png")
    (tmp_path / "empty.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"empty\.png: not an image"):
        read_image(tmp_path / "empty.png")


@pytest.mark.parametrize("kind", ["png", "jpg", "bmp"])
def test_an_image_cut_short(tmp_path, kind):
    path = tmp_path / f"a.{kind}"
    save(path, np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8))
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ValueError, match=rf"a\.{kind}: the image cannot be read: "):
        read_image(path)
