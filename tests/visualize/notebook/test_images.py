import base64
import re

from pcsargmax.visualize.notebook.images import image_html


def test_a_prediction_shows_picture_and_table(face):
    text = image_html(face())
    assert "<b>face0.png</b>: 4 keypoints on 32 × 40 pixels" in text
    assert "left &lt;b&gt;" in text
    rows = [re.sub("<[^>]+>", " ", row).split() for row in re.findall("<tr>(.*?)</tr>", text)]
    assert rows[0] == ["keypoint", "x", "y", "confidence", "error", "(px)"]
    assert rows[3] == ["●", "nose", "16.00", "22.00", "0.12", "2.00"]
    assert rows[4] == ["●", "chin", "30.00", "30.00", "0.10"]  # it has no truth
    picture = base64.b64decode(re.search(r"base64,([^\"]+)", text)[1])
    assert picture.startswith(b"\xff\xd8")
    assert len(text) < 60_000


def test_a_slice_shows_its_surfaces(oct_slice):
    text = image_html(oct_slice())
    assert "2 surfaces on 50 × 20 pixels" in text
    rows = [re.sub("<[^>]+>", " ", row).split() for row in re.findall("<tr>(.*?)</tr>", text)]
    assert rows[1] == ["●", "top", "6.00", "1.50", "1.00"]
