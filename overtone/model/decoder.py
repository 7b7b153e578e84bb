"""The decoder of the Llama-like families: one functional forward for the trainer and the engine.

It contains what both share: embedding, norms, rotary positions, activation, logits. What differs between training
and serving is passed in: `attend` owns masks and caches, `project` owns the linear layers (dense, quantised, with
adapters). The results of both agree because the rest is the same code.

Not here: the small operations (custom_backward.py), LoRA (lora.py), quantised weights (quant.py), reading files
(decoder_weights.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from overtone.model.custom_backward import gated, rms_norm, split_and_rotate
from overtone.model.decoder_config import DecoderConfig
from overtone.model.decoder_weights import WeightFile
from overtone.model.projections import JOINED
from overtone.model.rotation import make_tables

Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]
"""attend(layer, q_THK, k_TGK, v_TGK) -> out_THK. The caller owns mask, cache, window, softcap and scale."""

Project = Callable[[int, str, Tensor], Tensor]
"""project(layer, name, x_TI) -> y_TO for a joined projection, bias included."""

Tables = tuple[Tensor, Tensor]


@dataclass
class Layer:
    """One layer's weights. Norm weights are ready for use: Gemma's "plus one" is already added."""

    weights: dict[str, Tensor]  # joined projection → weight_OI; empty: the caller has its own
    biases: dict[str, Tensor]  # joined projection → bias_O, only where the model has one
    norms: dict[str, Tensor]  # before_attention, …, q_norm, k_norm where they exist


@dataclass(eq=False)
class Decoder:
    """A model's weights and its forward. Its projections are joined (projections.py)."""

    config: DecoderConfig
    embed_VD: Tensor
    head_VD: Tensor  # the same tensor as embed_VD if the model ties them
    final_norm_D: Tensor
    layers: list[Layer]
    base_folder: Path  # where it was loaded from

    @classmethod
    def load(
        cls,
        base_folder: Path,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        dense: bool = True,
    ) -> Decoder:
        """Load config.json and the safetensors. `dense=False` leaves the projections' weights out."""
        config = DecoderConfig.load(base_folder)
        file = WeightFile(base_folder, config, dtype, device)
        embed_VD = file.get("model.embed_tokens.weight")
        head_VD = embed_VD if config.tied else file.get("lm_head.weight")
        layers = [_load_layer(file, index, dense) for index in range(config.num_layers)]
        return cls(config, embed_VD, head_VD, file.norm("model.norm"), layers, base_folder)

    @property
    def dtype(self) -> torch.dtype:
        return self.embed_VD.dtype

    @property
    def device(self) -> torch.device:
        return self.embed_VD.device

    def project(self, layer: int, name: str, x_TI: Tensor) -> Tensor:
        """Project with the dense base weights: the plain `Project`, without adapters."""
        return F.linear(x_TI, self.layers[layer].weights[name], self.layers[layer].biases.get(name))

    def forward(
        self, ids_T: Tensor, positions_T: Tensor, attend: Attend, project: Project, keep: Tensor | None = None
    ) -> Tensor:
        """Return the last layer's normed hidden_TD, ready for `logits`.

        The tokens of any number of texts are in one flat row; only `attend` knows which belong together. `keep` selects
        the rows to return. After its attention the last layer computes only these rows, so in the last layer only
        they reach `project` as "o", "gate_up" and "down".
        """
        x_TD = self.embed(ids_T)
        tables = self.tables(positions_T)
        last = self.config.num_layers - 1
        for index in range(last):
            x_TD = self.layer(index, x_TD, tables[index], attend, project)
        x_TD = self.layer(last, x_TD, tables[last], attend, project, keep)
        return self.norm(x_TD, self.final_norm_D)

    def embed(self, ids_T: Tensor) -> Tensor:
        x_TD = F.embedding(ids_T, self.embed_VD)
        if not self.config.family.scaled_embedding:
            return x_TD
        # rounded before it multiplies, as in Gemma's training
        factor = torch.tensor(self.config.width**0.5, dtype=x_TD.dtype)
        return x_TD * factor

    def tables(self, positions_T: Tensor) -> list[Tables]:
        """Return every layer's cosines and sines. Layers with the same settings share them."""
        made: dict[int, Tables] = {}
        for rope in self.config.ropes:
            if id(rope) not in made:
                made[id(rope)] = make_tables(rope, positions_T, self.dtype)
        return [made[id(rope)] for rope in self.config.ropes]

    def layer(
        self,
        index: int,
        x_TD: Tensor,
        tables: Tables,
        attend: Attend,
        project: Project,
        keep: Tensor | None = None,
    ) -> Tensor:
        """Run one layer: attention and MLP, each with its residual."""
        out_TD = self._attention(index, x_TD, tables, attend, project, keep)
        x_TD = (x_TD if keep is None else x_TD[keep]) + out_TD
        return x_TD + self._mlp(index, x_TD, project)

    def logits(self, hidden_TD: Tensor) -> Tensor:
        """Return logits_TV for rows that `forward` returned."""
        logits_TV = F.linear(hidden_TD, self.head_VD)
        cap = self.config.logit_softcap
        return logits_TV if cap is None else cap * torch.tanh(logits_TV / cap)

    def norm(self, x: Tensor, weight: Tensor | None) -> Tensor:
        """RMSNorm (arXiv:1910.07467) over the last dimension. Without a weight there is no norm."""
        return x if weight is None else rms_norm(x, weight, self.config.norm_eps)

    def _attention(
        self, index: int, x_TD: Tensor, tables: Tables, attend: Attend, project: Project, keep: Tensor | None
    ) -> Tensor:
        norms = self.layers[index].norms
        q_THK, k_TGK, v_TGK = self._qkv(
            index, self.norm(x_TD, norms.get("before_attention")), tables, project
        )
        out_TI = attend(index, q_THK, k_TGK, v_TGK).flatten(1)
        if keep is not None:
            out_TI = out_TI[keep]
        return self.norm(project(index, "o", out_TI), norms.get("after_attention"))

    def _qkv(
        self, index: int, x_TD: Tensor, tables: Tables, project: Project
    ) -> tuple[Tensor, Tensor, Tensor]:
        config = self.config
        qkv_TO = project(index, "qkv", x_TD)
        if config.family.qk_norm:
            qkv_TO = self._qk_normed(index, qkv_TO)
        qkv_TNK = qkv_TO.view(len(qkv_TO), -1, config.head_size)
        sizes = config.num_heads, config.num_kv_heads, config.num_kv_heads
        return split_and_rotate(qkv_TNK, sizes, *tables)

    def _qk_normed(self, index: int, qkv_TO: Tensor) -> Tensor:
        """Normalise queries and keys: each head (Qwen 3, Gemma 3), or all heads together (OLMo 2)."""
        norms = self.layers[index].norms
        q, k, v = torch.split(qkv_TO, list(self.config.qkv_sizes), dim=1)
        if self.config.family.qk_norm == "head":
            q, k = (part.reshape(len(part), -1, self.config.head_size) for part in (q, k))
        q, k = self.norm(q, norms["q_norm"]), self.norm(k, norms["k_norm"])
        return torch.cat((q.flatten(1), k.flatten(1), v), dim=1)

    def _mlp(self, index: int, x_TD: Tensor, project: Project) -> Tensor:
        norms = self.layers[index].norms
        gate_up_TO = project(index, "gate_up", self.norm(x_TD, norms.get("before_mlp")))
        down_TD = project(index, "down", self.activate(gate_up_TO))
        return self.norm(down_TD, norms.get("after_mlp"))

    def activate(self, gate_up_TO: Tensor) -> Tensor:
        """Return act(gate) · up."""
        return gated(gate_up_TO, self.config.family.activation)


def _load_layer(file: WeightFile, index: int, dense: bool) -> Layer:
    weights = {name: file.joined(index, name, "weight") for name in JOINED} if dense else {}
    biases = {name: file.joined(index, name, "bias") for name in JOINED if file.has_bias(index, name)}
    return Layer(weights, biases, file.layer_norms(index))
