"""Every official data set is trained, measured and used by its name on the command line, from files in its own form."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from pcsargmax.metrics.coco_matches import CocoMatches
from pcsargmax.runs.image_sources import open_images
from pcsargmax.settings.images import ImageSettings

QUICK = ("--size", "64x64", "--trunk", "tiny", "--deconv-channels", 8, "--epochs", 1, "--batch-size", 2)
RNG = np.random.default_rng(0)


def write_image(path, size=(48, 40)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(RNG.integers(0, 255, (*size[::-1], 3), dtype=np.uint8)).save(path)


def write_json(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def coco(root):
    for split, numbers in {"train": (11, 12, 13), "val": (1, 2, 3)}.items():
        images, people = [], []
        for number in numbers:
            images.append({"id": number, "file_name": f"{number:012d}.jpg", "width": 48, "height": 40})
            write_image(root / f"{split}2017" / f"{number:012d}.jpg")
            x, y = RNG.integers(5, 35, (2, 17)).tolist()
            flat = [value for pair in zip(x, y, [2] * 17, strict=True) for value in pair]
            person = {"id": number, "image_id": number, "category_id": 1, "keypoints": flat, "num_keypoints": 17}
            people.append(person | {"bbox": [2, 2, 40, 36], "area": 900.0, "iscrowd": 0})
        category = [{"id": 1, "name": "person"}]
        content = {"images": images, "annotations": people, "categories": category}
        write_json(root / "annotations" / f"person_keypoints_{split}2017.json", content)


def h36m(root):
    for subject in (1, 11):
        images, annotations = [], []
        for frame in (0, 64):
            folder = f"s_{subject:02d}_act_05_subact_02_ca_03"
            name = f"{folder}/{folder}_{frame + 1:06d}.jpg"
            write_image(root / "images" / name)
            number = 1000 * subject + frame
            entry = {"id": number, "file_name": name, "width": 48, "height": 40, "subject": subject}
            entry |= {"action_name": "Eating", "action_idx": 5, "subaction_idx": 2, "cam_idx": 3, "frame_idx": frame}
            camera = {"R": np.eye(3).tolist(), "t": [0, 0, 0], "f": [100.0, 100.0], "c": [24.0, 20.0]}
            images.append(entry | {"cam_param": camera})
            joints = RNG.uniform([-500, -500, 4500], [500, 500, 5500], (17, 3))
            one = {"id": number, "image_id": number, "bbox": [4, 4, 40, 32], "keypoints_cam": joints.tolist()}
            annotations.append(one)
        subjects = [subject] if subject == 11 else [1, 5, 6, 7, 8]
        for each in subjects:
            whole = (
                {"images": images, "annotations": annotations} if each == subject else {"images": [], "annotations": []}
            )
            write_json(root / "annotations" / f"Human36M_subject{each}.json", whole)
    write_json(root / "annotations" / "Human36M_subject9.json", {"images": [], "annotations": []})


def mpii(root):
    write_image(root / "images" / "a.jpg")
    flat = np.column_stack([RNG.integers(5, 35, (16, 2)), np.ones(16, dtype=int)]).ravel().tolist()
    person = {"id": 1, "image_id": 4, "category_id": 1, "keypoints": flat, "bbox": [2, 2, 40, 36]}
    image = {"id": 4, "file_name": "a.jpg", "width": 48, "height": 40}
    content = {"images": [image], "annotations": [person], "categories": [{"id": 1, "name": "person"}]}
    write_json(root / "annotations" / "annot_mpii.json", content)


def mtfl(root):
    for name, count in (("training.txt", 8), ("testing.txt", 2)):
        lines = []
        for number in range(count):
            file = f"{name[:4]}/{number}.jpg"
            write_image(root / file)
            x, y = [12, 30, 20, 14, 28], [12, 12, 20 + number, 30, 30]
            lines.append(" ".join([file.replace("/", "\\"), *(f"{value:.6f}" for value in [*x, *y]), "1 2 2 3"]))
        (root / name).write_text("\n".join(lines) + "\n")


def mshc(root):
    for subject in ("hc09", "hc14", "ms21", "hc01", "ms01"):
        name = f"{subject}_spectralis_macula_v1_s1_R_1"
        (root / "image").mkdir(exist_ok=True)
        (root / "label").mkdir(exist_ok=True)
        Image.fromarray(RNG.integers(0, 255, (32, 64), dtype=np.uint8)).save(root / "image" / f"{name}.png")
        rows = [[3 + 3 * surface + 0.25] * 64 for surface in range(9)]
        (root / "label" / f"{name}.txt").write_text(json.dumps({"bds": rows}))


@pytest.fixture
def trained(cli, tmp_path, monkeypatch):
    """Train on official files by the command line, and evaluate; returns the result and the settings."""
    monkeypatch.chdir(tmp_path)

    def run(data, *options, evaluated=()):
        result = cli("train-image", data, "--root", tmp_path, "--run", "run", "--device", "cpu", *options)
        assert result.exit_code == 0, result.output
        result = cli("evaluate", "run", "--json", *evaluated)
        assert result.exit_code == 0, result.output
        printed = cli("evaluate", "run", *evaluated)
        assert printed.exit_code == 0, printed.output
        return json.loads(result.stdout), " ".join(printed.stdout.split())

    return run


def test_coco(trained, tmp_path):
    pytest.importorskip("pycocotools")
    coco(tmp_path)
    boxes = [{"image_id": n, "category_id": 1, "bbox": [1, 1, 40, 38], "score": 0.5} for n in (1, 2, 3)]
    write_json(tmp_path / "boxes.json", boxes)
    found, text = trained(
        "coco", *QUICK, "--num-samples", 2, "--coordinate-gradient", "sign", evaluated=("--flip-test",)
    )
    assert (found["split"], found["settings"]["epochs"], found["settings"]["val_split"]) == ("val", 1, "none")
    assert found["people"]["ap"]["num_objects"] == 3
    assert found["people"]["oks"]["num_items"] == 3
    again = CocoMatches.from_dict(found["people"]["matches"]).average_precision(torch.ones(1, 3, dtype=torch.float64))
    assert again.mean().item() == pytest.approx(found["people"]["ap"]["ap"])
    assert found["joints"] is None
    assert "AP AP@.5 AP@.75 AR r with OKS" in text


def test_coco_with_a_detector_s_boxes(trained, tmp_path, cli):
    pytest.importorskip("pycocotools")
    coco(tmp_path)
    boxes = [{"image_id": n, "category_id": 1, "bbox": [1, 1, 40, 38], "score": 0.5} for n in (1, 2, 3)]
    write_json(tmp_path / "boxes.json", boxes)
    found, text = trained("coco", *QUICK, "--objective", "soft", evaluated=("--boxes", tmp_path / "boxes.json"))
    assert found["boxes"] == str(tmp_path / "boxes.json")
    assert found["people"]["ap"]["num_poses"] == 3
    assert found["people"]["oks"] is None
    assert "boxes of" in text


def test_human36m_with_mpii(trained, tmp_path):
    pytest.importorskip("pycocotools")
    h36m(tmp_path)
    mpii(tmp_path / "mpii")
    found, text = trained("h36m", *QUICK, "--depth-bins", 8, "--num-samples", 1, "--mpii", tmp_path / "mpii")
    assert found["settings"]["rotate"] == 0
    assert found["joints"]["num_poses"] == 2
    assert len(found["joints"]["mpjpe_per_joint"]) == 17
    assert found["joints"]["pa_mpjpe"] < found["joints"]["mpjpe"]
    assert "MPJPE, mm PA-MPJPE, mm NME" in text


def test_mtfl(trained, tmp_path):
    mtfl(tmp_path)
    found, text = trained("mtfl", *QUICK, "--num-samples", 2)
    assert found["length"] == {"name": "inter-ocular", "keypoints": ["left_eye", "right_eye"]}
    assert found["images"]["length"] == [18, 18]
    assert found["settings"]["train_split"] == "trainval"
    assert "% of the inter-ocular distance (left_eye to right_eye)" in text


@pytest.mark.filterwarnings("ignore:retina, split")  # of the subjects that are not there
def test_retina(trained, tmp_path):
    mshc(tmp_path)
    with pytest.warns(UserWarning, match=r"retina, split 'val': no slice of "):
        open_images(ImageSettings(data="retina", root=str(tmp_path)), "val")
    found, text = trained("retina", "--channels", "4,8", "--epochs", 1, "--num-samples", 2)
    assert (found["kind"], found["unit"], found["settings"]["lr"]) == ("image_surfaces", "micrometres", 1e-4)
    assert found["surfaces"]["num_subjects"] == 2
    assert len(found["surfaces"]["mad_per_surface"]) == 9
    assert "MAD, µm std over subjects, µm" in text
