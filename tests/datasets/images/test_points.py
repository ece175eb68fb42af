import numpy as np
import pytest

from pcsargmax.datasets.images.points import is_point_table, read_points


@pytest.fixture
def table(tmp_path):
    def write(text: str):
        path = tmp_path / "points.csv"
        path.write_text(text)
        return path

    return write


def test_numbered_columns(table):
    found = read_points(table("file,x0,y0,x1,y1\na.png,1,2.5,3,4\nsub\\b.png,-5,6,,\n\n"))
    assert found.names == ("0", "1")
    assert [row.file for row in found.rows] == ["a.png", "sub/b.png"]
    assert found.rows[0].points.tolist() == [[1, 2.5], [3, 4]]
    assert found.rows[1].points[0].tolist() == [-5, 6]
    assert np.isnan(found.rows[1].points[1]).all()
    assert found.rows[1].where == f"{found.path}:3"
    assert found.rows[0].box is None


def test_named_columns_in_any_order_with_boxes_and_more(table):
    found = read_points(
        table(
            "person;tip_y;file;tip_x;x;y;width;height;a_b_x;a_b_y\n7;2;a.png;1;0;1;20;30;nan;NaN\n8;4;a.png;3;5;1;9;9;5;6\n"
        )
    )
    assert found.names == ("tip", "a_b")
    assert found.rows[0].points[0].tolist() == [1, 2]
    assert np.isnan(found.rows[0].points[1]).all()
    assert found.rows[0].box.tolist() == [0, 1, 20, 30]
    assert [row.extra for row in found.rows] == [{"person": "7"}, {"person": "8"}]


def test_names_keep_the_order_of_the_file(table):
    assert read_points(table("y10,x10,x2,y2,file\n1,2,3,4,a.png\n")).names == ("10", "2")
    assert read_points(table("file,x10,y10\na.png,3,4\n")).rows[0].points.tolist() == [[3, 4]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"points\.csv:1: expected the columns file, x0, y0, \.\.\., got an empty file"),
        ("name,x0,y0\na,1,2\n", r"points\.csv:1: expected the columns file, .* each once, got name, x0, y0"),
        ("file,a,b,c,d,e,f,g,h\n", r"points\.csv:1: .* got file, a, b, c, d, e, f, g, \.\.\."),
        ("file,x0,y0,x0\na,1,2,3\n", r"points\.csv:1: the column 'x0' comes twice"),
        ("file,x0,y0,x1\na,1,2,3\n", r"points\.csv:1: keypoint '1' has no column y1"),
        ("file,tip_y\na,1\n", r"points\.csv:1: keypoint 'tip' has no column tip_x"),
        ("file,t_x,t_y,t_z\na,1,2,3\n", r"points\.csv:1: keypoint 't' has a third coordinate"),
        ("file,x0,y0,z0\na,1,2,3\n", r"points\.csv:1: keypoint '0' has a third coordinate"),
        ("file,x0,y0,x,y,width\na,1,2,3,4,5\n", r"points\.csv:1: expected all columns of a box, .* got x, y, width"),
        ("file,x0,y0\n", r"points\.csv: expected a row for each image, got none"),
        ("file,x0,y0\na,1,2\nb,1\n", r"points\.csv:3: expected 3 values, got 2"),
        ("file,x0,y0\n ,1,2\n", r"points\.csv:2: the column file is empty"),
        ("file,x0,y0\na,1,two\n", r"points\.csv:2: y0: expected a finite number, got 'two'"),
        ("file,x0,y0\na,1,inf\n", r"points\.csv:2: y0: expected a finite number, got 'inf'"),
        ("file,x0,y0\na,1,\n", r"points\.csv:2: x0 has a number and y0 has none"),
        ("file,t_x,t_y\na,nan,1\n", r"points\.csv:2: t_y has a number and t_x has none"),
        ("file,x0,y0\na,1,2\na,3,4\n", r"points\.csv:3: 'a' is in .*points\.csv:2 already \(several objects need box"),
        ("file,x0,y0,x,y,width,height\na,1,2,0,0,0,5\n", r"points\.csv:2: box: expected a width and a height above 0"),
        ("file,x0,y0,x,y,width,height\na,1,2,0,0,,5\n", r"points\.csv:2: width: expected a finite number, got ''"),
        ("file,x0,y0\na,0.25,0.5\nb,1,0\n", r"points\.csv: expected points in pixels, got none beyond 1"),
    ],
)
def test_mistakes_are_named_with_their_line(table, text, message):
    with pytest.raises(ValueError, match=message):
        read_points(table(text))


def test_which_tables_hold_points(table):
    assert is_point_table(table("file,x0,y0\n"))
    assert is_point_table(table("tip_x\ttip_y\tfile\n"))
    assert not is_point_table(table("file,split\na,train\n"))
    assert not is_point_table(table("x0,y0\n1,2\n"))
    assert not is_point_table(table(""))
