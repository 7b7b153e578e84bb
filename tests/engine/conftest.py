"""A tiny base made once, and adapters for it."""

from pathlib import Path

import pytest
import torch

from overtone.model.adapter import Adapter, save_adapter
from overtone.model.decoder_config import DecoderConfig
from overtone.model.projections import module_sizes
from tests import tiny

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.make_base(tmp_path_factory.mktemp("bases"), width=128)


def random_adapter(base: Path, seed: int, rank: int = 4, modules: tuple[str, ...] = ()) -> Adapter:
    """Return an adapter strong enough to change what a tiny base says."""
    config, generator = DecoderConfig.load(base), torch.Generator().manual_seed(seed)
    adapter = Adapter(rank, alpha=2.0 * rank)
    for layer in range(config.num_layers):
        for module, (width_in, width_out) in module_sizes(config).items():
            if not modules or module in modules:
                a_RI = torch.randn(rank, width_in, generator=generator) / width_in**0.5
                b_OR = torch.randn(width_out, rank, generator=generator) / rank**0.5
                adapter.a[layer, module] = a_RI.numpy()
                adapter.b[layer, module] = b_OR.numpy()
    return adapter


def saved_adapter(base: Path, folder: Path, seed: int, rank: int = 4) -> tuple[str, str]:
    """Save a random adapter; return its folder and digest."""
    digest = save_adapter(folder / f"adapter-{seed}", random_adapter(base, seed, rank), base.name)
    return str(folder / f"adapter-{seed}"), digest
