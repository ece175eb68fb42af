import copy
import json
import re
import sys

import pytest
import torch
from torch import nn

from pcsargmax.backbones.resnet import TRUNKS, ResNetTrunk

pytest.importorskip("transformers", reason="the extra `image` is not installed")


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    """A folder with the weights of a whole classifier whose trunk is "tiny"."""
    from transformers import ResNetConfig, ResNetForImageClassification

    folder = tmp_path_factory.mktemp("classifier")
    config = ResNetConfig(
        layer_type="basic", embedding_size=32, hidden_sizes=[32, 64, 128, 256], depths=[1, 1, 1, 1], num_labels=3
    )
    torch.manual_seed(3)
    model = ResNetForImageClassification(config)
    nn.init.normal_(model.resnet.embedder.embedder.normalization.running_mean)
    model.save_pretrained(folder)
    return folder


@pytest.fixture
def writable(classifier, tmp_path):
    """A copy of the classifier's folder, to spoil."""
    import shutil

    return shutil.copytree(classifier, tmp_path / "weights")


@pytest.mark.parametrize(
    ("name", "channels", "parameters"),
    # the convolutions and normalisations of the published networks: those of ImageNet less the 1000-way classifier
    [("resnet18", 512, 11_689_512 - 513_000), ("resnet50", 2048, 25_557_032 - 2_049_000)],
)
def test_the_trunks_are_the_published_ones(name, channels, parameters):
    with torch.device("meta"):
        trunk = ResNetTrunk(name)
    assert (trunk.channels, trunk.stride) == (channels, 32)
    assert sum(p.numel() for p in trunk.parameters()) == parameters


@pytest.mark.parametrize("size", [(32, 64), (96, 32)])
def test_features_are_at_a_thirty_second(size):
    trunk = ResNetTrunk("tiny", in_channels=2).eval()
    assert trunk(torch.zeros(3, 2, *size)).shape == (3, trunk.channels, size[0] // 32, size[1] // 32)
    assert trunk.channels == 256


def test_an_image_alone_gives_what_it_gives_in_a_batch():
    trunk = ResNetTrunk("tiny").eval()
    images = torch.randn(3, 3, 64, 32, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(trunk(images[1:2]), trunk(images)[1:2])


def test_a_seed_repeats_the_weights():
    states = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        states.append(ResNetTrunk("tiny").state_dict())
    first, same, other = states
    assert all(torch.equal(value, same[key]) for key, value in first.items())
    assert not all(torch.equal(value, other[key]) for key, value in first.items())


def test_every_weight_gets_a_gradient_and_a_copy_works_alike():
    trunk = ResNetTrunk("tiny")
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    trunk(images).square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in trunk.parameters())
    twin = copy.deepcopy(trunk).eval()
    assert torch.equal(twin(images), trunk.eval()(images))


def test_weights_come_from_a_folder_of_a_classifier_and_of_a_trunk(classifier, tmp_path, capfd):
    from transformers import ResNetForImageClassification
    from transformers.utils import logging

    whole = ResNetForImageClassification.from_pretrained(classifier).state_dict()
    before = (logging.get_verbosity(), logging.is_progress_bar_enabled())
    capfd.readouterr()
    trunk = ResNetTrunk("tiny", weights=str(classifier))
    assert capfd.readouterr() == ("", "")
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before
    assert trunk.training
    assert trunk.network.training
    state = trunk.network.state_dict()
    assert len(state) == len(whole) - 2  # the classifier's weight and bias
    assert all(torch.equal(value, whole[f"resnet.{key}"]) for key, value in state.items())
    trunk.network.save_pretrained(tmp_path)
    again = ResNetTrunk("tiny", weights=str(tmp_path)).network.state_dict()
    assert all(torch.equal(value, again[key]) for key, value in state.items())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "resnet101"}, "trunk: expected one of resnet18, resnet50, tiny, got 'resnet101'"),
        ({"in_channels": 0}, "in_channels: expected at least 1, got 0"),
        ({"weights": "/no/such/folder"}, "weights: expected a folder or a model of the hub, got '/no/such/folder': "),
    ],
)
def test_errors(arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        ResNetTrunk(**{"name": "tiny"} | arguments)
    assert "\n" not in str(caught.value)


def test_weights_of_another_architecture_are_refused(classifier):
    told = f"weights: expected embedding_size 64 of trunk 'resnet18', got 32 in {str(classifier)!r}"
    with pytest.raises(ValueError, match=re.escape(told)):
        ResNetTrunk("resnet18", weights=str(classifier))
    with pytest.raises(ValueError, match="weights: expected num_channels 1 of trunk 'tiny', got 3"):
        ResNetTrunk("tiny", in_channels=1, weights=str(classifier))


def test_weights_that_are_not_whole_are_refused(writable):
    from safetensors.torch import load_file, save_file

    file = writable / "model.safetensors"
    state, lost = load_file(file), "encoder.stages.2.layers.0.layer.0.convolution.weight"
    del state[f"resnet.{lost}"]
    save_file(state, file, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=re.escape(f"expected all weights of trunk 'tiny', got none for {lost} in ")):
        ResNetTrunk("tiny", weights=str(writable))


def test_weights_of_another_shape_than_told_are_refused(writable):
    config = json.loads((writable / "config.json").read_text())
    (writable / "config.json").write_text(
        json.dumps(config | {"embedding_size": 64, "hidden_sizes": [64, 128, 256, 512], "depths": [2, 2, 2, 2]})
    )
    with pytest.raises(ValueError, match="weights: expected a"):
        ResNetTrunk("resnet18", weights=str(writable))


@pytest.mark.parametrize("broken", ["config.json", "model.safetensors"])
def test_broken_or_missing_files_are_told(writable, broken):
    (writable / broken).write_bytes(b"{")
    with pytest.raises(ValueError, match="weights: expected a folder or a model of the hub, got ") as caught:
        ResNetTrunk("tiny", weights=str(writable))
    assert "\n" not in str(caught.value)
    (writable / broken).unlink()
    with pytest.raises(ValueError, match="weights: expected "):
        ResNetTrunk("tiny", weights=str(writable))


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 3, 48, 64), "images: expected a height and width that are multiples of 32, got (48, 64)"),
        ((1, 3, 0, 64), "multiples of 32, got (0, 64)"),
        ((1, 1, 64, 64), "images: expected shape (B, 3, H, W), got (1, 1, 64, 64)"),
        ((3, 64, 64), "images: expected shape (B, 3, H, W), got (3, 64, 64)"),
    ],
)
def test_images_that_do_not_fit(shape, message):
    with torch.device("meta"):
        trunk = ResNetTrunk("tiny")
    with pytest.raises(ValueError, match=re.escape(message)):
        trunk(torch.zeros(shape, device="meta"))


def test_without_transformers_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ValueError, match=re.escape("transformers is not installed: pip install 'pcsargmax[image]'")):
        ResNetTrunk("tiny")


def test_tiny_is_a_seventh_of_the_work():
    from torch.utils.flop_counter import FlopCounterMode

    work = {}
    for name in TRUNKS:
        with torch.device("meta"):
            trunk, images = ResNetTrunk(name).eval(), torch.zeros(1, 3, 96, 96)
        with FlopCounterMode(display=False) as counter:
            trunk(images)
        work[name] = counter.get_total_flops()
    assert work["resnet18"] / work["tiny"] == pytest.approx(7, rel=0.1)
    assert work["resnet50"] > work["resnet18"]
