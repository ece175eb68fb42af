from pcsargmax.commands.printed.images import (
    Figure,
    figures_of,
    print_image_comparison,
    print_images,
    print_surfaces,
)
from pcsargmax.commands.shared.alike import method_label


def keypoints(seed=0, nme=0.0614, **changes):
    numbers = {"nme": nme, "nme/low": nme - 0.002, "nme/high": nme + 0.003, "failure@0.1": 0.05, "mean_error": 2.5}
    return {
        "kind": "image_keypoints",
        "data": "/data/faces",
        "split": "test",
        "objective": "sampling",
        "settings": {"objective": "sampling", "basis": "uniform", "num_samples": 5, "seed": seed},
        "keypoint_names": ["a", "b"],
        "flip_test": False,
        "boxes": "annotated",
        "seconds_per_image": 0.012,
        "length": {"name": "inter-ocular", "keypoints": ["a", "b"]},
        "nme": numbers | {"num_images": 3, "num_left_out": 1},
        "pck": {"pck@0.05": 0.5, "pck@0.05/low": 0.4, "pck@0.05/high": 0.6, "mean_error": 0.06},
        "confidence": {"threshold": 0.05, "pearson": None},
        "people": None,
        "joints": None,
        "images": {"name": ["x", "y", "z", "w"]},
    } | changes


def slices(seed=0):
    each = {f"{name}_per_surface": [0.5, None] for name in ("mad", "std", "bias", "rmse")}
    found = {"mad": 0.7454, "mad/low": 0.7, "mad/high": 0.8, "std": 0.1, "num_slices": 9, "num_subjects": 3} | each
    return {
        "kind": "image_surfaces",
        "data": "slices",
        "split": "test",
        "objective": "soft",
        "settings": {"objective": "soft", "basis": "triangular", "num_samples": 5, "seed": seed},
        "surface_names": ["upper", "lower"],
        "unit": "micrometres",
        "seconds_per_image": 0.002,
        "surfaces": found,
    }


def words(text: str) -> str:
    return " ".join(text.split())


def test_a_number_and_its_interval():
    figure = Figure("NME", "nme", "nme", 100, 2)
    assert figure.text(figure.value(keypoints())) == "6.14"
    assert figure.interval(figure.value(keypoints(), "/low"), figure.value(keypoints(), "/high")) == "5.9–6.4"
    assert Figure("r", "confidence", "pearson").value(keypoints()) is None
    assert Figure("AP", "people.ap", "ap").value(keypoints()) is None
    assert Figure("AP", "people.ap", "ap").value(keypoints(people={"ap": {"ap": 0.5}})) == 50


def test_a_table_says_what_its_numbers_are(capsys):
    print_images(keypoints())
    text = words(capsys.readouterr().out)
    assert "/data/faces, test split, trained by uniform basis, N_s = 5: 4 images, 2 keypoints" in text
    assert "NME fail PCK@0.05 px r" in text
    assert "6.14 5.0 50.0 2.50 –" in text
    assert "NME (fail: above 10) and PCK in % of the inter-ocular distance (a to b)" in text
    assert "1 images without such a length" in text
    assert "12 ms an image" in text


def test_a_table_fits_into_80_columns(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    shares = {f"pck@{t}{end}": 1.0 for t in ("0.05", "0.1", "0.2") for end in ("", "/low", "/high")}
    ends = {f"{name}/{end}": 1.0 for name in ("failure@0.1", "mean_error") for end in ("low", "high")}
    trust = {"threshold": 0.1, "pearson": -0.05, "pearson/low": -0.11, "pearson/high": -0.01}
    metrics = keypoints(pck=shares, confidence=trust)
    metrics["nme"] |= ends
    print_images(metrics)
    assert "…" not in capsys.readouterr().out


def test_a_table_of_3d_joints_cuts_nothing_off(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    joints = {key + end: 392.4 for key in ("mpjpe", "pa_mpjpe") for end in ("", "/low", "/high")}
    shares = {f"pck@{t}{end}": 0.1431 for t in ("0.05", "0.1", "0.2") for end in ("", "/low", "/high")}
    print_images(keypoints(joints=joints, pck=shares))
    out = capsys.readouterr().out
    assert "…" not in out
    assert out.count("392.4–") == 2
    assert out.count("14.3–") == 3
    assert "392.4–3" not in out
    assert "PA-MPJPE" in out


def test_people_and_joints_have_their_own_numbers():
    people = {"ap": {"ap": 0.7}, "oks": {"pearson": 0.4}}
    assert [f.title for f in figures_of(keypoints(people=people))][-2:] == ["AR", "r with OKS"]
    assert [f.title for f in figures_of(keypoints(joints={"mpjpe": 50.0}))][:2] == ["MPJPE, mm", "PA-MPJPE, mm"]
    assert [f.title for f in figures_of(slices())] == ["MAD, µm", "std over subjects, µm"]


def test_runs_that_differ_in_the_seed_share_a_row(capsys):
    print_image_comparison([keypoints(), keypoints(1, 0.0714), keypoints(flip_test=True)])
    text = words(capsys.readouterr().out)
    assert "faces, uniform basis, N_s = 5 6.64" in text
    assert "2 runs ± 0.71" in text
    assert "1 run" in text
    assert "1 runs" not in text
    print_image_comparison([slices(), slices(1)])
    assert "slices, soft-argmax 0.745" in words(capsys.readouterr().out)


def test_each_surface_has_a_row(capsys):
    print_surfaces(slices())
    text = words(capsys.readouterr().out)
    assert "9 slices of 3 subjects" in text
    assert "0.745 0.100 0.70–0.80" in text
    assert "upper 0.500 0.500 0.500 0.500 lower – – – –" in text


def test_a_method_names_the_basis_of_its_samples():
    assert method_label(keypoints()) == "uniform basis, N_s = 5"
    assert method_label(slices()) == "soft-argmax"
