"""ResDAVEnet-VQ: discrete units learnt by finding the picture spoken of (Harwath, Hsu and Glass, arXiv 1911.09602).

A residual convolutional network hears log-mel, another sees the picture; their means over time and over the plane are
drawn together where speech describes the picture, and apart from those of the rest of the batch. Between the stages of
the speech network, vectors give way to the nearest code of a codebook: lower ones come to be like phones, upper ones
like words.

Losses:
  contrast       each way round, softmax over the batch (loss: infonce), or the paper's ranking with a random and a
                 semi-hard impostor (loss: triplet); descriptions of one picture are no impostors of each other
  commitment_I   squared distance of what reaches the codebook behind stage I to its codes (the paper's second term)

Codebooks follow by exponential moving average (the paper's section 3.2, decay 0.99), straight through for the gradient.

Where this file goes its own way. Norms are over the channels of a frame, and over groups of channels of a picture,
instead of batch norm: features must not depend on the batch. The contrast is softmax by default, which needs fewer
steps. The vector of each side is projected to the joint space; in the paper the stages are as wide as the space.
Before that, both means pass a batch norm, of which no layer depends, the projections have no bias, and codebooks begin as
frames of the train part: an untrained network gives nearly the same vector for everything, and what is learned first would
be to make all of them one. The weights kept are the last: the contrast on dev rises soon, since it grows surer of what it
gets wrong, while as much or more is found.
Pictures are varied in training (flip, shift, zoom) where their network learns. `layers` repeats the frames of the coarser
stages, so that all layers have the rate of the first stage, half that of the features. The paper begins with a picture network
trained to classify: give its weights as `image_weights`; without, it begins from nothing. With `image_trained: false` it
stays as it came, and each picture goes through it once.
"""

import hashlib
import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import nn

from speechrep.data.dataset import SpeechDataset, spread, to_device
from speechrep.data.inventory import Inventory
from speechrep.methods.base import LAST, Batch, Method as BaseMethod
from speechrep.metrics.retrieval import recall_ranks
from speechrep.nn.batch_norm import BatchNorm
from speechrep.nn.contrastive import symmetric_contrast
from speechrep.nn.masking import pad_mask
from speechrep.nn.pictures import load_weights, missing, picture_network, weights_file
from speechrep.nn.quantizers import EMAQuantizer, code_counts, perplexity
from speechrep.nn.triplet import triplet_ranking

BEGUN_SEC = 600.0
"""Seconds of the train part, with their pictures, whose means are looked at before training."""

GUARD_FROM = 500
"""Steps before which nothing counts as collapse."""


@dataclass(frozen=True)
class Config:
    """Sizes and choices. The defaults of the speech side are the paper's."""

    widths: tuple[int, ...] = (128, 256, 256, 512, 1024)
    """Channels of the first convolution and of each residual stage; a stage halves the frame rate."""
    kernel: int = 9
    """Frames that a convolution of a residual block sees."""
    blocks: int = 2
    """Residual blocks of a stage."""
    quantized: tuple[int, ...] = (2, 3)
    """Stages, from 1, behind which a codebook stands."""
    codes: int = 1024
    """Codes of each codebook."""
    decay: float = 0.99
    """Of the moving averages of the codes."""
    joint_dim: int = 1024
    """Dimension of the joint space."""
    image_layout: Literal["resnet18", "resnet34", "resnet50", "efficientnet_lite0"] = "resnet50"
    """Layers of the picture network."""
    image_width: int = 64
    """Channels of the first stage of a residual one; 64 for released weights."""
    image_px: int = 224
    """Side in pixels to which pictures are scaled; below 128 a residual network begins with a small convolution."""
    image_weights: str = ""
    """Weights to begin from, whose norms stay as they are: a file (see `nn.pictures.load_weights`), or imagenet, for those
    of efficientnet_lite0 that the extra `vision` brings; empty: from nothing."""
    image_trained: bool = True
    """Whether the picture network learns too, or only what projects its means."""
    vary: float = 0.1
    """In training a picture is shifted by up to this share of its side, zoomed by as much, flipped half the time."""
    dropout: float = 0.0
    """Of both vectors before they are projected."""
    loss: Literal["infonce", "triplet"] = "infonce"
    """How the sides are drawn together."""
    margin: float = 1.0
    """Of the ranking (triplet), in units of the dot product; the paper's."""
    max_scale: float = 100.0
    """Upper bound of the learned factor on the cosine (infonce)."""

    def __post_init__(self):
        if len(self.widths) < 2:
            raise ValueError(f"widths {self.widths}, wanted those of the first convolution and of at least one stage")
        if any(not 1 <= stage < len(self.widths) for stage in self.quantized):
            raise ValueError(f"quantized {self.quantized}, wanted stages between 1 and {len(self.widths) - 1}")
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel {self.kernel}, wanted an odd number")
        if not self.image_trained and not self.image_weights:
            raise ValueError("image_trained false without image_weights: a network that begins from nothing has to learn")


class Block(nn.Module):
    """Two convolutions over time and a residual, zero behind the end: [B, N, C_in], [B] -> [B, ceil(N / stride), C]."""

    def __init__(self, channels: int, width: int, kernel: int, stride: int):
        super().__init__()
        self.stride = stride
        self.conv1 = nn.Conv1d(channels, width, kernel, stride, kernel // 2, bias=False)
        self.conv2 = nn.Conv1d(width, width, kernel, 1, kernel // 2, bias=False)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.shortcut = None if stride == 1 and channels == width else nn.Linear(channels, width, bias=False)

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        lengths = (lengths + self.stride - 1) // self.stride
        y = F.relu(self.norm1(self.conv1(x.transpose(1, 2)).transpose(1, 2)))
        pad = pad_mask(lengths, y.shape[1])[..., None]
        y = self.norm2(self.conv2(y.masked_fill(pad, 0).transpose(1, 2)).transpose(1, 2))
        x = x[:, ::self.stride]
        y = F.relu(y + (x if self.shortcut is None else self.shortcut(x)))
        return y.masked_fill(pad, 0), lengths


class Method(BaseMethod):
    """Speech network with codebooks, picture network, and a vector of each in the joint space."""

    Config = Config
    needs = ("feats", "image")
    losses = {"main": ("contrast", "commitment_2", "commitment_3")}
    across_batch = frozenset({"contrast"})
    selects = LAST

    def __init__(self, config: Config, inventory: Inventory):
        super().__init__(config, inventory)
        c = config
        self.register_buffer("mean", torch.tensor(inventory.mean))
        self.register_buffer("std", torch.tensor(inventory.std))
        self.front = nn.Linear(len(inventory.mean), c.widths[0])
        self.front_norm = nn.LayerNorm(c.widths[0])
        self.stages = nn.ModuleList(
            nn.ModuleList(Block(a if number == 0 else b, b, c.kernel, 2 if number == 0 else 1)
                          for number in range(c.blocks)) for a, b in zip(c.widths, c.widths[1:]))
        self.codebooks = nn.ModuleDict({str(i): EMAQuantizer(c.codes, c.widths[i], c.decay) for i in c.quantized})
        self.speech_norm, self.speech_out = BatchNorm(c.widths[-1]), nn.Linear(c.widths[-1], c.joint_dim, bias=False)
        self.pictures = picture_network(c.image_layout, c.image_width, "frozen" if c.image_weights else "group",
                                        small=c.image_px < 128 and not c.image_weights)
        self.pictures.requires_grad_(c.image_trained)
        self.register_buffer("image_mean", torch.tensor(self.pictures.rgb_mean)[:, None, None])
        self.register_buffer("image_std", torch.tensor(self.pictures.rgb_std)[:, None, None])
        self.image_norm = BatchNorm(self.pictures.dim)
        self.image_out = nn.Linear(self.pictures.dim, c.joint_dim, bias=False)
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)), requires_grad=c.loss == "infonce")
        # A checkpoint holds the weights; the file is wanted only where training begins.
        self.register_buffer("pretrained", torch.tensor(False))
        if c.image_weights and (path := weights_file(c.image_weights, c.image_layout)):
            load_weights(self.pictures, path)
            self.pretrained.fill_(True)
        self._kept: dict[bytes, torch.Tensor] = {}
        self.register_load_state_dict_post_hook(lambda method, _: method._kept.clear())

    @classmethod
    def losses_of(cls, config: Config) -> dict[str, tuple[str, ...]]:
        return {"main": ("contrast", *(f"commitment_{stage}" for stage in config.quantized))}

    # Training

    @torch.no_grad()
    def take_train(self, part: SpeechDataset) -> None:
        """Begin codebooks as frames, and the norms' estimates; those of an earlier training are kept."""
        if self.speech_norm.mean.any():
            return
        training = self.training
        self.eval()
        batches = [to_device(batch, self.mean.device) for batch in spread(part, BEGUN_SEC)]
        # A codebook as it is drawn makes all frames of its stage nearly zero, and the next norm their gradient huge.
        for codebook in self.codebooks.values():
            reached: list[torch.Tensor] = []
            hook = codebook.register_forward_pre_hook(lambda _, inputs: reached.append(inputs[0][~inputs[1]]))
            for batch in batches:
                self.encode(batch["feats"], batch["feats_lengths"])
            hook.remove()
            frames = torch.cat(reached)
            chosen = torch.randperm(len(frames), generator=torch.Generator().manual_seed(0))[:codebook.codes]
            codebook.begin(frames[chosen.to(frames.device)])
        speech, image = [], []
        for batch in batches:
            stages, lengths, _, _ = self.encode(batch["feats"], batch["feats_lengths"])
            speech.append(_mean(stages[-1], lengths[-1])), image.append(self._picture_mean(batch["image"]))
        self.speech_norm.begin(torch.cat(speech)), self.image_norm.begin(torch.cat(image))
        self.train(training)

    def prepare(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Draw which frames restart dead codes, the impostors of the ranking, and how pictures vary in training."""
        draws = [torch.Generator().manual_seed(seed) for seed in batch["seeds"].tolist()]
        device, vary = batch["feats"].device, self.config.vary
        rows = [torch.rand(5, generator=draw) for draw in draws]
        drawn = torch.stack(rows).to(device)
        lengths, size = batch["feats_lengths"].tolist(), batch["feats"].shape[1]
        priority = torch.stack([F.pad(torch.rand(length, generator=draw), (0, size - length))
                                for draw, length in zip(draws, lengths)]).to(device)
        image = batch["image"]
        if self.training and vary and self.config.image_trained:
            image = vary_pictures(image, drawn[:, :2] * 2 - 1, drawn[:, 2] * 2 - 1, drawn[:, 3] < 0.5, vary)
        return batch | {"seen": image, "impostor": drawn[:, 4], "frame_priority": priority}

    def counts(self, batch: Batch, phase: str = "main") -> dict[str, float]:
        counts = {"contrast": len(batch["utts"])}
        lengths = batch["feats_lengths"]
        for stage, width in enumerate(self.config.widths[1:], 1):
            lengths = (lengths + 1) // 2
            if stage in self.config.quantized:
                counts[f"commitment_{stage}"] = int(lengths.sum()) * width
        return counts

    def forward(self, batch: Batch, phase: str = "main") -> dict[str, torch.Tensor]:
        """feats [B, N, D], seen [B, 3, H, W], image_id [B] -> sums of the losses."""
        c = self.config
        if c.image_weights and not self.pretrained:
            raise missing(c.image_weights, c.image_layout)
        stages, lengths, _, commitments = self.encode(batch["feats"], batch["feats_lengths"], batch["frame_priority"])
        speech, image = self.speech_vector(stages[-1], lengths[-1]), self.image_vector(batch["seen"])
        groups = batch["image_id"]
        if c.loss == "triplet":
            contrast = triplet_ranking(speech, image, groups, batch["impostor"], c.margin, gather=self.training)
        else:
            contrast = symmetric_contrast(F.normalize(speech, dim=-1), F.normalize(image, dim=-1), self.scale(), groups,
                                          gather=self.training)
        return {"contrast": contrast} | {f"commitment_{stage}": value for stage, value in commitments.items()}

    def scale(self) -> torch.Tensor:
        """The factor on the cosine, one over the temperature."""
        return self.log_scale.exp().clamp(max=self.config.max_scale)

    def after_step(self, step: int) -> None:
        for codebook in self.codebooks.values():
            codebook.update()

    @torch.no_grad()
    def metrics(self, batch: Batch) -> dict[str, tuple[float, float]]:
        """Share of descriptions whose picture is among the first 1, 5, 10 pictures of the batch, of pictures with one
        of their descriptions among the first, the same by chance, how far unit vectors are spread (1: in all
        directions, 0: all alike), and codes in use."""
        speech, image = self.utterance(batch), F.normalize(self.image_vector(batch["image"]), dim=-1)
        ids, first = _distinct(batch["image_id"])
        own = ids[None] == batch["image_id"][:, None]
        similarity = speech @ image[first].T
        found: dict[str, tuple[float, float]] = {}
        for k in (1, 5, 10):
            for name, scores, right in (("speech_to_image", similarity, own), ("image_to_speech", similarity.T, own.T)):
                hits = recall_ranks(scores, right) < k
                found[f"recall_{k}_{name}"] = (int(hits.sum()), len(hits))
            found[f"chance_{k}_speech_to_image"] = (min(1.0, k / len(ids)) * len(speech), len(speech))
        for name, vectors in (("speech", speech), ("image", image[first])):
            found[f"spread_{name}"] = ((1 - float(vectors.mean(0).square().sum())) * len(vectors), len(vectors))
        _, lengths, codes, _ = self.encode(batch["feats"], batch["feats_lengths"])
        for stage, chosen in codes.items():
            pad = pad_mask(lengths[stage - 1], chosen.shape[1])
            counts = code_counts(chosen[..., None], self.config.codes, pad)[0]
            found[f"perplexity_{stage}"] = (float(perplexity(counts)) * len(speech), len(speech))
        return found

    def collapsed(self, values: dict[str, float], step: int) -> str | None:
        # Untrained networks give vectors that are nearly alike.
        if step < GUARD_FROM:
            return None
        for side in ("speech", "image"):
            if values.get(f"spread_{side}", 1.0) < 0.01:
                return (f"the {side} vectors are all alike: their spread is {values[f'spread_{side}']:.4f}, "
                        "in a healthy run above 0.1")
        for stage in self.config.quantized:
            if values.get(f"perplexity_{stage}", 2.0) < 1.5:
                return (f"the codebook behind stage {stage} has {values[f'perplexity_{stage}']:.2f} codes in use, "
                        "in a healthy run a tenth of them or more")
        return None

    # What comes out of it

    def encode(self, feats: torch.Tensor, lengths: torch.Tensor, priority: torch.Tensor | None = None):
        """feats [B, N, D] -> every stage's output [B, N_i, C_i], behind its codebook where there is one, zero in
        padding; their lengths; stage -> ids [B, N_i]; stage -> sum of squared distances to the codes."""
        x = self._first(feats, lengths)
        outputs, sizes, codes, commitments = [], [], {}, {}
        for number, blocks in enumerate(self.stages, 1):
            for block in blocks:
                x, lengths = block(x, lengths)
            if number in self.config.quantized:
                pad = pad_mask(lengths, x.shape[1])
                drawn = None if priority is None else priority[:, :x.shape[1]]
                x, codes[number], commitments[number] = self.codebooks[str(number)](x, pad, drawn)
                x = x.masked_fill(pad[..., None], 0)
            outputs.append(x)
            sizes.append(lengths)
        return outputs, sizes, codes, commitments

    def _first(self, feats: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.front_norm(self.front((feats - self.mean) / self.std)))
        return x.masked_fill(pad_mask(lengths, x.shape[1])[..., None], 0)

    def speech_vector(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """The last stage's output [B, N, C], zero in padding -> joint space [B, J]."""
        return self.speech_out(F.dropout(self.speech_norm(_mean(x, lengths)), self.config.dropout, self.training))

    def image_vector(self, image: torch.Tensor) -> torch.Tensor:
        """image [B, 3, H, W] in [0, 1] -> joint space [B, J]."""
        return self.image_out(F.dropout(self.image_norm(self._picture_mean(image)), self.config.dropout, self.training))

    def _picture_mean(self, image: torch.Tensor) -> torch.Tensor:
        if self.config.image_trained:
            return self._seen_mean(image)
        # By what they show, since pictures of two parts may have one number. One at a time and in full precision, since a
        # training that goes on meets them in other company, and those seen before its first step within one.
        keys = [hashlib.blake2b(row.tobytes()).digest() for row in image.cpu().numpy()]
        with torch.no_grad(), torch.autocast(image.device.type, enabled=False):
            for key, row in zip(keys, image):
                if key not in self._kept:
                    self._kept[key] = self._seen_mean(row[None])[0]
        return torch.stack([self._kept[key] for key in keys]).to(image.device)

    def _seen_mean(self, image: torch.Tensor) -> torch.Tensor:
        size = self.config.image_px
        if image.shape[-1] != size:
            image = F.interpolate(image, (size, size), mode="bilinear", antialias=True, align_corners=False)
        return self.pictures((image - self.image_mean) / self.image_std).mean((2, 3))

    def utterance(self, batch: Batch) -> torch.Tensor:
        """One unit vector an utterance [B, J], in the space of pictures."""
        stages, lengths, _, _ = self.encode(batch["feats"], batch["feats_lengths"])
        return F.normalize(self.speech_vector(stages[-1], lengths[-1]), dim=-1)

    def codes(self, batch: Batch) -> dict[int, tuple[torch.Tensor, torch.Tensor]]:
        """Stage -> ids [B, N_i] of its codebook and their lengths [B]."""
        _, lengths, codes, _ = self.encode(batch["feats"], batch["feats_lengths"])
        return {stage: (ids, lengths[stage - 1]) for stage, ids in codes.items()}

    def frame_lengths(self, lengths: torch.Tensor) -> torch.Tensor:
        return (lengths + 1) // 2

    def layers(self, batch: Batch) -> tuple[list[torch.Tensor], torch.Tensor]:
        feats, lengths = batch["feats"], batch["feats_lengths"]
        stages, _, _, _ = self.encode(feats, lengths)
        size, fine = stages[0].shape[1], self.frame_lengths(lengths)
        pad = pad_mask(fine, size)[..., None]
        first = self._first(feats, lengths)[:, ::2]
        repeated = [x.repeat_interleave(2 ** number, 1)[:, :size] for number, x in enumerate(stages)]
        return [x.masked_fill(pad, 0) for x in (first, *repeated)], fine


def _mean(x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """x [B, N, C], zero in padding -> its mean over time [B, C]."""
    return x.sum(1) / lengths[:, None]


def vary_pictures(image: torch.Tensor, shift: torch.Tensor, zoom: torch.Tensor, flip: torch.Tensor,
                  most: float) -> torch.Tensor:
    """Pictures [B, 3, H, W] shifted, zoomed and flipped, each by its own draw; what comes into view is white.

    shift [B, 2] and zoom [B] in [-1, 1], as shares of `most`; flip [B] bool.
    """
    factor = 1 + most * zoom
    matrix = image.new_zeros(len(image), 2, 3)
    matrix[:, 0, 0] = torch.where(flip, -factor, factor)
    matrix[:, 1, 1] = factor
    # A grid reaches from -1 to 1.
    matrix[:, :, 2] = 2 * most * shift
    grid = F.affine_grid(matrix, list(image.shape), align_corners=False)
    return 1 - F.grid_sample(1 - image, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def _distinct(ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The distinct numbers among ids [B], and where each stands first."""
    distinct, inverse = ids.unique(return_inverse=True)
    first = torch.full((len(distinct),), len(ids), device=ids.device)
    first = first.scatter_reduce(0, inverse, torch.arange(len(ids), device=ids.device), "amin")
    return distinct, first
