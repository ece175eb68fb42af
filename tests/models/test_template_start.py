import pytest
import torch

from pcsargmax.core.argmax import soft_argmax
from pcsargmax.models.keypoint_detector import KeypointDetector
from pcsargmax.models.template import Template
from pcsargmax.models.template_start import TemplateStart

#: A box from (0, 0, 0) to (2, 1, 1), and the middle of its top in z.
SITES = torch.tensor([[[0.0, 0, 0], [2, 1, 1], [1, 0.5, 1], [1, 0, 1]]])
TOP = torch.tensor([[0.5, 0.5, 1.0]])


def test_logits_by_hand():
    start = TemplateStart(TOP, width=0.5)
    # d² is 2.25, 1.25, 0 and 0.25; 2 s² is 0.5.
    torch.testing.assert_close(start(SITES), torch.tensor([[[-4.5, -2.5, 0.0, -0.5]]]))


def test_each_keypoint_has_a_place_and_a_width_of_its_own():
    start = TemplateStart(torch.cat([TOP, torch.zeros(1, 3)]), width=0.5)
    with torch.no_grad():
        start.log_width[1] += torch.tensor(2.0).log()  # s = 1
    expected = torch.tensor([[[-4.5, -2.5, 0.0, -0.5], [0.0, -3.0, -1.125, -1.0]]])
    torch.testing.assert_close(start(SITES), expected)


def test_the_place_is_that_of_the_template():
    generator = torch.Generator().manual_seed(0)
    sites, relative = torch.rand(1, 40, 3, generator=generator), torch.rand(2, 3, generator=generator)
    place = Template(relative.double(), torch.ones(2, dtype=torch.long)).predict(sites[0])
    found = TemplateStart(relative, width=0.1)(sites)
    direct = -(sites - place.float()[:, None]).square().sum(dim=-1) / (2 * 0.1**2)
    torch.testing.assert_close(found[0], direct, rtol=1e-4, atol=1e-4)
    assert (soft_argmax(found, sites)[0] - place).norm(dim=-1).max() < 0.15


def test_a_cloud_alone_gives_what_it_gives_in_a_padded_batch():
    start = TemplateStart(TOP)
    small = torch.rand(1, 6, 3, generator=torch.Generator().manual_seed(1)) + 3
    batch = torch.cat([torch.nn.functional.pad(small, (0, 0, 0, 4)), torch.rand(1, 10, 3)])  # zeros lie off the box
    mask = torch.arange(10) < torch.tensor([[6], [10]])
    torch.testing.assert_close(start(batch, mask)[:1, :, :6], start(small))


def test_a_flat_cloud_has_finite_logits():
    flat = SITES * torch.tensor([1.0, 1, 0])
    assert TemplateStart(TOP)(flat).isfinite().all()
    assert TemplateStart(TOP)(flat[:, :1]).tolist() == [[[0.0]]]


def test_the_width_is_learnt_and_the_place_is_not():
    start = TemplateStart(TOP, width=0.5)
    start(SITES).sum().backward()
    assert start.log_width.grad.item() == pytest.approx(15.0)  # minus twice the sum of the logits
    assert [name for name, _ in start.named_parameters()] == ["log_width"]
    assert "relative" in start.state_dict()


def test_a_detector_adds_them_to_its_own_logits():
    detectors = []
    for relative in (None, TOP.expand(3, 3)):
        torch.manual_seed(0)
        detectors.append(KeypointDetector(3, "light", template_start=relative).eval())
    pos = torch.rand(70, 3, generator=torch.Generator().manual_seed(2)) / 2
    batch = torch.tensor([0] * 40 + [1] * 30)
    plain, started = (detector(pos, batch=batch) for detector in detectors)
    added = detectors[1].template_start(plain.sites, plain.mask)
    torch.testing.assert_close(started.logits, plain.logits + added)
    assert not torch.equal(started.logits, plain.logits)
