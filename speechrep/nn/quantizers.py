"""Codebooks: Gumbel-softmax, exponential moving average, and k-means with gradient.

Letters: B utterances, N frames, D features, G groups, K codes. All of them give the code's vector on the way forward
and let the gradient pass to their input straight through (Bengio et al., arXiv 1308.3432). All compute in float32.
"""

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn

from speechrep.nn.contrastive import _gather


def perplexity(counts: torch.Tensor) -> torch.Tensor:
    """exp(entropy) of counts or probabilities [..., K], which need not sum to one -> [...]: how many codes are in use
    if all were used equally. Between 1 and K."""
    share = counts.float() / counts.float().sum(-1, keepdim=True).clamp(min=1e-9)
    return (-torch.special.xlogy(share, share).sum(-1)).exp()


def code_counts(ids: torch.Tensor, codes: int, pad: torch.Tensor | None = None) -> torch.Tensor:
    """How often each code occurs: ids [B, N, G], pad [B, N] -> [G, K]."""
    kept = ids.flatten(0, 1) if pad is None else ids[~pad]
    groups = kept.shape[-1]
    flat = (kept + codes * torch.arange(groups, device=ids.device)).flatten()
    return torch.bincount(flat, minlength=groups * codes).view(groups, codes)


def gumbel_noise(lengths: torch.Tensor, size: int, width: int, seeds: torch.Tensor) -> torch.Tensor:
    """Standard Gumbel noise [B, size, width], drawn utterance by utterance from `seeds` [B] so that neither padding nor
    the rest of the batch changes a draw; zero behind `lengths` [B], and on their device, which draws."""
    device = lengths.device
    noise = torch.zeros(len(lengths), size, width, device=device)
    for row, (length, seed) in enumerate(zip(lengths.tolist(), seeds.tolist())):
        draw = torch.Generator(device).manual_seed(seed)
        drawn = torch.empty(length, width, device=device).exponential_(generator=draw)
        noise[row, :length] = -drawn.clamp(min=1e-30).log()
    return noise


def diversity(probs_sum: torch.Tensor, count: torch.Tensor | float, gather: bool = True) -> torch.Tensor:
    """wav2vec 2.0's diversity loss (arXiv 2006.11477, eq. 4, in the released form): (G K - sum of the groups'
    perplexities) / (G K), a scalar from 0 (all codes alike) to 1 - 1 / K.

    probs_sum [G, K]: softmax probabilities summed over `count` frames. gather: under torch.distributed the means are
    those over the frames of all processes.
    """
    if gather and dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        from torch.distributed.nn.functional import all_reduce
        both = all_reduce(torch.cat([probs_sum.flatten(), probs_sum.new_tensor([float(count)])]))
        probs_sum, count = both[:-1].view_as(probs_sum), both[-1]
    mean = probs_sum / max(float(count), 1.0)
    entropy = -(mean * (mean + 1e-7).log()).sum(-1)
    return 1 - entropy.exp().sum() / probs_sum.numel()


class GumbelQuantizer(nn.Module):
    """Codes by straight-through Gumbel-softmax (Jang et al., arXiv 1611.01144) in `groups` groups.

    hidden: width of a first layer with ReLU before the logits (vq-wav2vec's); 0 for a linear map (wav2vec 2.0).
    shared: one codebook for all groups (vq-wav2vec's combined groups). logit_std: standard deviation of the weights
    that give the logits at the start, 1 in the released wav2vec 2.0; 0 for the usual start of a linear map.
    """

    def __init__(self, in_dim: int, groups: int, codes: int, out_dim: int, hidden: int = 0, shared: bool = False,
                 logit_std: float = 0.0):
        super().__init__()
        if out_dim % groups:
            raise ValueError(f"out_dim {out_dim} is no multiple of groups {groups}")
        self.groups, self.codes = groups, codes
        last = nn.Linear(hidden or in_dim, groups * codes)
        if logit_std:
            nn.init.normal_(last.weight, std=logit_std)
            nn.init.zeros_(last.bias)
        self.logits = nn.Sequential(nn.Linear(in_dim, hidden), nn.ReLU(), last) if hidden else last
        # U(0, 1) as released with wav2vec 2.0.
        self.codebook = nn.Parameter(torch.rand(1 if shared else groups, codes, out_dim // groups))

    def forward(self, x: torch.Tensor, pad: torch.Tensor | None, temperature: float | torch.Tensor,
                noise: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """x [B, N, D], pad [B, N] True where frames do not count (None: all do) -> codes' vectors [B, N, out_dim],
        ids [B, N, G], probs_sum [G, K].

        In training, `noise` [B, N, G * K] (`gumbel_noise`; by default drawn here) is added to the logits and the
        gradient is that of the softmax at `temperature`; in eval the largest logit wins. `probs_sum` is the sum over
        counted frames of the noise-free softmax, for `diversity`.
        """
        with torch.autocast(x.device.type, enabled=False):
            logits = self.logits(x.float())
            probs = logits.unflatten(-1, (self.groups, self.codes)).softmax(-1)
            probs_sum = (probs if pad is None else probs.masked_fill(pad[..., None, None], 0)).sum((0, 1))
            if self.training:
                if noise is None:
                    noise = -torch.empty_like(logits).exponential_().clamp(min=1e-30).log()
                logits = (logits + noise) / temperature
            logits = logits.unflatten(-1, (self.groups, self.codes))
            ids = logits.argmax(-1)
            chosen = F.one_hot(ids, self.codes).to(logits.dtype)
            if self.training:
                soft = logits.softmax(-1)
                chosen = chosen + soft - soft.detach()
            return self._mix(chosen), ids, probs_sum

    def lookup(self, ids: torch.Tensor) -> torch.Tensor:
        """The vectors of ids [B, N, G] -> [B, N, out_dim]."""
        return self._mix(F.one_hot(ids, self.codes).to(self.codebook.dtype))

    def _mix(self, chosen: torch.Tensor) -> torch.Tensor:
        book = self.codebook.expand(self.groups, -1, -1)
        return torch.einsum("bngk,gkd->bngd", chosen, book).flatten(2)


class EMAQuantizer(nn.Module):
    """Nearest code; codes follow the mean of their frames by exponential moving average (van den Oord et al., arXiv
    1711.00937, appendix A.1), with the Laplace-smoothed counts of the released code.

    Call `update()` after each optimiser step: it applies what the forward passes in training gathered, over
    micro-batches and processes at once, so that 1 x 8 equals 8 x 1. Codes that no frame chose in `patience` steps are
    dead and start again as frames of the batch, the ones of highest `priority`; so do all unused codes in the first
    step.
    """

    def __init__(self, codes: int, dim: int, decay: float = 0.999, epsilon: float = 1e-5, patience: int = 20):
        super().__init__()
        self.codes, self.decay, self.epsilon, self.patience = codes, decay, epsilon, patience
        codebook = torch.empty(codes, dim).uniform_(-1 / codes, 1 / codes)
        self.register_buffer("codebook", codebook)
        self.register_buffer("counts", torch.ones(codes))
        self.register_buffer("sums", codebook.clone())
        self.register_buffer("idle", torch.full((codes,), patience))
        # Not buffers: they are empty whenever a checkpoint is written, and differ between processes until then.
        self._gathered: list[torch.Tensor] | None = None

    def nearest(self, x: torch.Tensor) -> torch.Tensor:
        """The code nearest to each vector: x [..., D] -> ids [...]."""
        with torch.autocast(x.device.type, enabled=False):
            # The square of x itself moves all distances alike.
            return (self.codebook.square().sum(1) - 2 * x.float() @ self.codebook.T).argmin(-1)

    def forward(self, x: torch.Tensor, pad: torch.Tensor, priority: torch.Tensor | None = None
                ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """x [B, N, D], pad [B, N] -> codes' vectors [B, N, D], ids [B, N], and the commitment error, the squared
        distance of x to its code summed over counted frames and dimensions (gradient to x only).

        priority [B, N]: which frames take dead codes' places, highest first; by default drawn here.
        """
        x = x.float()
        ids = self.nearest(x)
        codes = self.codebook[ids]
        commitment = (x - codes).square().sum(-1).masked_fill(pad, 0).sum()
        if self.training:
            self._gather_statistics(x.detach()[~pad], ids[~pad], None if priority is None else priority[~pad])
        return x + (codes - x).detach(), ids, commitment

    def _gather_statistics(self, frames: torch.Tensor, ids: torch.Tensor, priority: torch.Tensor | None) -> None:
        chosen = F.one_hot(ids, self.codes).to(frames.dtype)
        with torch.autocast(frames.device.type, enabled=False):
            counts, sums = chosen.sum(0), chosen.T @ frames
        priority = torch.rand(len(frames), device=frames.device) if priority is None else priority.to(frames.device)
        if self._gathered is not None:
            counts, sums = counts + self._gathered[0], sums + self._gathered[1]
            frames, priority = torch.cat([self._gathered[2], frames]), torch.cat([self._gathered[3], priority])
        best = priority.topk(min(self.codes, len(priority))).indices
        self._gathered = [counts, sums, frames[best], priority[best]]

    @torch.no_grad()
    def begin(self, frames: torch.Tensor) -> None:
        """Take frames [F, D], the same in all processes, as codes, the first ones; of fewer some twice."""
        codes = frames.float().repeat(-(-self.codes // len(frames)), 1)[:self.codes]
        self.codebook.copy_(codes), self.sums.copy_(codes), self.counts.fill_(1.0), self.idle.fill_(0)

    @torch.no_grad()
    def update(self) -> None:
        """Move the codes by what was gathered since the last call; all processes must call."""
        if self._gathered is None:
            return
        counts, sums, frames, priority = self._gathered
        self._gathered = None
        if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
            dist.all_reduce(counts)
            dist.all_reduce(sums)
            frames, priority = _gather(frames), _gather(priority)
        self.counts.lerp_(counts, 1 - self.decay)
        self.sums.lerp_(sums, 1 - self.decay)
        total = self.counts.sum()
        smoothed = (self.counts + self.epsilon) / (total + self.codes * self.epsilon) * total
        self.codebook.copy_(self.sums / smoothed[:, None])
        self.idle.copy_(torch.where(counts > 0, 0, self.idle + 1))
        dead = (self.idle > self.patience).nonzero()[:, 0][:len(frames)]
        reborn = frames[priority.topk(len(dead)).indices]
        self.codebook[dead], self.sums[dead], self.counts[dead], self.idle[dead] = reborn, reborn, 1.0, 0

    def lookup(self, ids: torch.Tensor) -> torch.Tensor:
        """The vectors of ids [B, N] -> [B, N, D]."""
        return self.codebook[ids]


class KMeansQuantizer(nn.Module):
    """The k-means variant of vq-wav2vec (arXiv 1910.05453, 3.2): a grouped 1 x 1 convolution and group norm, nearest
    code in each group, codes moved by gradient.

    Norm statistics are over an utterance's counted frames, so that padding changes nothing. shared: one codebook for
    all groups.
    """

    def __init__(self, in_dim: int, groups: int, codes: int, shared: bool = False):
        super().__init__()
        if in_dim % groups:
            raise ValueError(f"in_dim {in_dim} is no multiple of groups {groups}")
        self.groups, self.codes = groups, codes
        self.project = nn.Conv1d(in_dim, in_dim, 1, groups=groups, bias=False)
        self.scale, self.shift = nn.Parameter(torch.ones(in_dim)), nn.Parameter(torch.zeros(in_dim))
        # 0.01 N(0, 1) as in the released code.
        self.codebook = nn.Parameter(0.01 * torch.randn(1 if shared else groups, codes, in_dim // groups))

    def forward(self, x: torch.Tensor, pad: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor,
                                                                   torch.Tensor]:
        """x [B, N, D], pad [B, N] -> codes' vectors [B, N, D], ids [B, N, G], and two squared distances of frames to
        their codes, each summed over counted frames and dimensions: with gradient to the codes (the k-means loss), and
        to x (the commitment)."""
        with torch.autocast(x.device.type, enabled=False):
            x = self._norm(self.project(x.float().transpose(1, 2)).transpose(1, 2), pad)
            split = x.unflatten(-1, (self.groups, -1))
            book = self.codebook.expand(self.groups, -1, -1)
            with torch.no_grad():
                ids = (book.square().sum(-1) - 2 * torch.einsum("bngd,gkd->bngk", split, book)).argmin(-1)
            codes = self.lookup(ids)
            to_codes, to_x = ((a - b.detach()).square().sum(-1).masked_fill(pad, 0).sum()
                              for a, b in ((codes, x), (x, codes)))
            return x + (codes - x).detach(), ids, to_codes, to_x

    def lookup(self, ids: torch.Tensor) -> torch.Tensor:
        """The vectors of ids [B, N, G] -> [B, N, D]."""
        book = self.codebook.expand(self.groups, -1, -1)
        return book[torch.arange(self.groups, device=ids.device), ids].flatten(2)

    def _norm(self, x: torch.Tensor, pad: torch.Tensor) -> torch.Tensor:
        split = x.unflatten(-1, (self.groups, -1))
        inside = (~pad)[:, :, None, None].to(x.dtype)
        count = inside.sum((1, 3), keepdim=True) * split.shape[-1]
        mean = (split * inside).sum((1, 3), keepdim=True) / count
        variance = ((split - mean).square() * inside).sum((1, 3), keepdim=True) / count
        return ((split - mean) * (variance + 1e-5).rsqrt()).flatten(2) * self.scale + self.shift
