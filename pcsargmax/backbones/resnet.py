"""Residual networks for images (He et al., CVPR 2016) by transformers' ResNetBackbone: the extra `image`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

if TYPE_CHECKING:
    from transformers import ResNetBackbone


@dataclass(frozen=True)
class _Architecture:
    """The fields of transformers' `ResNetConfig` that tell one trunk from another."""

    layer_type: str
    embedding_size: int
    hidden_sizes: tuple[int, ...]
    depths: tuple[int, ...]


#: Trunks by name. "tiny" is for CPUs: a seventh of the multiplications of "resnet18".
TRUNKS: dict[str, _Architecture] = {
    "resnet18": _Architecture("basic", 64, (64, 128, 256, 512), (2, 2, 2, 2)),
    "resnet50": _Architecture("bottleneck", 64, (256, 512, 1024, 2048), (3, 4, 6, 3)),
    "tiny": _Architecture("basic", 32, (32, 64, 128, 256), (1, 1, 1, 1)),
}


class ResNetTrunk(nn.Module):
    """The convolutions of a ResNet: images to their features at a thirty-second of the resolution.

    Weights are drawn at random unless they are asked for. Those of others come with an expectation of how images are
    normalised (ImageNet's mean and standard deviation, mostly); the trunk takes images as they come.

    Args:
        name: one of `TRUNKS`.
        in_channels: channels of the images.
        weights: a folder, or the name of a model on the Hugging Face hub, such as "microsoft/resnet-18", which
            `from_pretrained` then downloads or finds in its cache; a ResNet of this architecture, with or without a
            classifier. None is random weights.

    Attributes:
        channels: of the features.
        stride: 32, the side of the square of pixels that a cell of the features stands for.

    Raises:
        ValueError: an unknown name, a number of channels below 1, transformers is not installed, or weights that are
            not there, of another architecture, or not whole.

    Example:
        >>> import torch
        >>> from pcsargmax import ResNetTrunk
        >>> trunk = ResNetTrunk("tiny")
        >>> trunk(torch.rand(1, 3, 64, 96)).shape  # (B, channels, H / 32, W / 32)
        torch.Size([1, 256, 2, 3])
    """

    stride = 32

    def __init__(self, name: str = "resnet18", in_channels: int = 3, weights: str | None = None) -> None:
        super().__init__()
        if name not in TRUNKS:
            raise ValueError(f"trunk: expected one of {', '.join(TRUNKS)}, got {name!r}")
        if in_channels < 1:
            raise ValueError(f"in_channels: expected at least 1, got {in_channels}")
        self.channels = TRUNKS[name].hidden_sizes[-1]
        self.in_channels = in_channels
        self.network = _build(name, in_channels) if weights is None else _load(name, in_channels, weights)

    def forward(self, images: Tensor) -> Tensor:
        """Return the features of images.

        Args:
            images: (B, in_channels, H, W) floating, H and W multiples of 32.

        Returns:
            (B, channels, H/32, W/32).

        Raises:
            ValueError: images of another shape.
        """
        if images.ndim != 4 or images.shape[1] != self.in_channels:
            expected = f"(B, {self.in_channels}, H, W)"
            raise ValueError(f"images: expected shape {expected}, got {tuple(images.shape)}")
        check_size("images", images.shape[-2:], self.stride)
        features: Tensor = self.network(images).feature_maps[-1]
        return features


def check_size(argument: str, size: Any, multiple: int) -> None:
    """Raise ValueError, naming the argument, unless (height, width) are positive multiples of a number."""
    sides = tuple(size)
    valid = len(sides) == 2 and all(isinstance(n, int) and n > 0 and n % multiple == 0 for n in sides)
    if not valid:
        raise ValueError(f"{argument}: expected a height and width that are multiples of {multiple}, got {sides}")


def _transformers() -> Any:
    try:
        import transformers
    except ImportError:
        raise ValueError("transformers is not installed: pip install 'pcsargmax[image]'") from None
    return transformers


def _build(name: str, in_channels: int) -> ResNetBackbone:
    """Return the network with weights drawn from torch's own generator."""
    library = _transformers()
    fields = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(TRUNKS[name]).items()}
    network: ResNetBackbone = library.ResNetBackbone(
        library.ResNetConfig(num_channels=in_channels, out_features=[f"stage{len(TRUNKS[name].depths)}"], **fields)
    )
    return network


def _load(name: str, in_channels: int, weights: str) -> ResNetBackbone:
    """Return the network with weights from a folder or the hub, all of them or a ValueError."""
    library = _transformers()
    with _readable(weights):
        config = library.ResNetConfig.from_pretrained(weights)
    for field, value in {"num_channels": in_channels, **asdict(TRUNKS[name])}.items():
        found = getattr(config, field)
        found = tuple(found) if isinstance(value, tuple) else found
        if found != value:
            raise ValueError(f"weights: expected {field} {value} of trunk {name!r}, got {found} in {weights!r}")
    with _readable(weights), _silent(library):
        network, report = library.ResNetBackbone.from_pretrained(
            weights, out_features=[f"stage{len(config.depths)}"], output_loading_info=True
        )
    if lost := sorted([*report["missing_keys"], *report["mismatched_keys"]]):
        raise ValueError(f"weights: expected all weights of trunk {name!r}, got none for {lost[0]} in {weights!r}")
    return network.train()


@contextmanager
def _readable(weights: str) -> Iterator[None]:
    """Turn what goes wrong while files are read or downloaded into a ValueError of one line."""
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        told = str(error).partition("\n")[0]
        raise ValueError(f"weights: expected a folder or a model of the hub, got {weights!r}: {told}") from error


@contextmanager
def _silent(library: Any) -> Iterator[None]:
    """Keep the library from drawing bars and from telling of the classifier's weights, which are left out."""
    log = library.utils.logging
    verbosity, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(verbosity)
        if bars:
            log.enable_progress_bar()
