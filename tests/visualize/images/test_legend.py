from pcsargmax.visualize.images.legend import listed, shortened
from pcsargmax.visualize.images.picture import picture_of


def test_a_long_name_keeps_both_ends():
    names = [f"hc01_spectralis_macula_v1_s1_R_{number}" for number in (1, 2, 49)]
    short = [shortened(name, 20) for name in names]
    assert short == ["hc01_spect…v1_s1_R_1", "hc01_spect…v1_s1_R_2", "hc01_spect…1_s1_R_49"]
    assert [len(text) for text in short] == [20, 20, 20]
    assert (shortened("a.png", 5), shortened("abcdef", 3)) == ("a.png", "a…f")


def test_many_keypoints_are_listed_by_error_or_doubt(face):
    picture = picture_of(face())
    assert listed(picture, 9, None) == [0, 1, 2, 3]
    assert listed(picture, 2, None) == [2, 0]
    assert listed(picture, 2, "right") == [1, 2]
    assert listed(picture, 2, None, truth=False) == [3, 2]
