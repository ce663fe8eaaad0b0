"""CTAP: contrastive phoneme-speech pretraining (Qiang et al., arXiv 2309.00424).

A speech encoder and a phoneme encoder are brought into one space, frame by frame, by a symmetric contrastive loss; a
prompt encoder (a variational autoencoder whose KL term has a margin) holds the voice; one decoder turns either
encoder's frames plus the voice into the mel spectrogram. From the one space come text-to-speech (phonemes -> decoder),
voice conversion (speech -> decoder with another's prompt) and recognition (speech -> nearest phonemes).

Losses, as the paper sums them:
  contrast      half the sum of the cross-entropies of scale * S P^T along both axes, over frames
  mel_speech    squared error of the mel decoded from the speech encoder
  mel_phone     squared error of the mel decoded from the phoneme encoder
  kl            max(0, KL(q(g | prompt) || N(0, I)) - margin), per utterance

Where this file goes its own way. The paper's layer tables are not public: encoders are Whisper-like transformers, or
time-delay blocks for a CPU. Padding never enters the contrast. Phoneme vectors that are merely repeated would put a
floor of E[ln duration] under the plain loss, so blocks follow the length regulator, and `positives: segment` counts all
frames of one phone token as each other's positives. `same_phone: mask` leaves frames of the same phone elsewhere
out of the negatives. The prompt is another utterance of the speaker, so that it cannot leak content.
Minimal supervision: only the utterances that the batch calls labelled enter `contrast` and `mel_phone`.
`decoder_gradient` below 1 weakens what the decoder teaches the speech encoder, which is where voice leaks in;
`instance_norm` takes out of the speech encoder what does not change through an utterance; `voice_per_block` tells the
decoder the voice more than once; `voice_means` sets how a voice is on average; and `warp` makes the voice of a target
something that only the prompt tells, which matters where each language has one speaker.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.distributed as dist
from torch import nn

from speechrep.data.inventory import Inventory
from speechrep.methods.base import Batch, Method as BaseMethod
from speechrep.nn.contrastive import symmetric_contrast
from speechrep.nn.encoder import Encoder
from speechrep.nn.front import MelFront
from speechrep.nn.gaussian import kl_to_standard
from speechrep.nn.instance_norm import instance_norm
from speechrep.nn.length_regulator import regulate, strided, token_of_frame
from speechrep.nn.loud_frames import loud_frames, mean_over
from speechrep.nn.masking import pad_mask
from speechrep.nn.prompt_encoder import PromptEncoder, window


@dataclass(frozen=True)
class Config:
    """Sizes and choices of CTAP. The defaults are a base size for one GPU."""

    kind: Literal["transformer", "tdnn"] = "transformer"
    """Blocks of all encoders and the decoder."""
    dim: int = 512
    """Width of encoders and decoder."""
    heads: int = 8
    """Attention heads of a transformer block."""
    joint_dim: int = 512
    """Dimension of the joint space."""
    prompt_dim: int = 256
    """Dimension of the voice vector."""
    stride: int = 2
    """Feature frames per frame of the joint space: 1, 2 or 4."""
    speech_layers: int = 6
    """Blocks of the speech encoder."""
    token_layers: int = 4
    """Blocks of the phoneme encoder before the length regulator."""
    frame_layers: int = 2
    """Blocks of the phoneme encoder behind the length regulator."""
    decoder_layers: int = 6
    """Blocks of the decoder."""
    dropout: float = 0.1
    """Dropout of all blocks."""
    prompt_frames: int = 300
    """Window of the prompt in feature frames; shorter prompts are looped."""
    kl_margin: float = 8.0
    """Nats of divergence that are free: ln(number of speakers) and some to spare."""
    positives: Literal["frame", "segment"] = "segment"
    """Which frames belong together: the same frame only, or all frames of the same phone token."""
    same_phone: Literal["keep", "mask"] = "mask"
    """Whether frames of the same phone elsewhere in the batch count as negatives (keep) or are left out (mask)."""
    contrast_frames: int = 0
    """Frames drawn at random for the contrast from the micro-batches that the processes hold at a time; 0 takes all."""
    chunk: int = 4096
    """The most rows and columns of the similarity matrix held at a time, forward and backward; memory grows with its square."""
    warp: float = 0.0
    """Voices are varied in training by stretching the mel axis by up to this share: one draw for what the speech encoder
    hears, another for target and prompt. 0 is the paper's way."""
    decoder_gradient: float = 1.0
    """Factor on the gradient from the decoder into the speech encoder; 1 is the paper's plain sum."""
    instance_norm: bool = False
    """The speech encoder normalises each channel over the utterance, at its input and before the joint space, so that
    what is constant through an utterance, the voice, does not enter (AdaIN-VC, arXiv 1904.05742). False is the paper's way."""
    voice_per_block: bool = False
    """The decoder hears the voice before each of its blocks, not before the first alone."""
    voice_means: bool = False
    """What a voice is on average is taken from the prompt, not learnt by heart: the decoder says how frames differ from the
    mean spectrum of the prompt's speech, what is spoken is given that mean, and conversion exchanges the source's mean in
    the joint space, where some of its voice is left, for the prompt's. False is the paper's way."""
    max_scale: float = 100.0
    """Upper bound of the learned factor on the cosine, for stability."""

    def __post_init__(self):
        if self.stride not in (1, 2, 4):
            raise ValueError(f"stride {self.stride}, wanted 1, 2 or 4")


class Method(BaseMethod):
    """Speech encoder, phoneme encoder, prompt encoder and decoder of CTAP."""

    Config = Config
    needs = ("feats", "phones", "prompt")
    losses = {"main": ("contrast", "mel_speech", "mel_phone", "kl")}
    across_batch = frozenset({"contrast"})

    def __init__(self, config: Config, inventory: Inventory):
        super().__init__(config, inventory)
        c = config
        mels = len(inventory.mean)
        self.register_buffer("mean", torch.tensor(inventory.mean))
        self.register_buffer("std", torch.tensor(inventory.std))
        self.front = MelFront(mels, c.dim, c.stride)
        self.speech_encoder = Encoder(c.kind, c.speech_layers, c.dim, c.heads, c.dropout)
        self.speech_out = nn.Linear(c.dim, c.joint_dim)
        self.phone_embedding = nn.Embedding(len(inventory.phones), c.dim)
        nn.init.normal_(self.phone_embedding.weight, std=c.dim ** -0.5)
        self.token_encoder = Encoder(c.kind, c.token_layers, c.dim, c.heads, c.dropout)
        self.frame_encoder = Encoder(c.kind, c.frame_layers, c.dim, c.heads, c.dropout)
        # Where a frame stands inside its phone, from either side: blocks behind the regulator need it to tell
        # frames of one phone apart.
        self.place = nn.Linear(3, c.dim)
        self.phone_out = nn.Linear(c.dim, c.joint_dim)
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        self.prompt_encoder = PromptEncoder(mels, c.prompt_dim)
        self.decoder_in = nn.Linear(c.joint_dim, c.dim)
        self.voice_in = nn.Linear(c.prompt_dim, c.dim * (c.decoder_layers if c.voice_per_block else 1))
        self.decoder = Encoder(c.kind, c.decoder_layers, c.dim, c.heads, c.dropout)
        self.mel_out = nn.Linear(c.dim, mels * c.stride)
        # Pauses have little of it.
        self.spectrum_share = nn.Linear(c.dim, c.stride) if c.voice_means else None

    # Training

    def prepare(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Draw the prompt windows, the noise of the voices, with `warp` other voices, and, with `contrast_frames`, who
        enters the contrast."""
        draws = [torch.Generator().manual_seed(seed) for seed in batch["seeds"].tolist()]
        starts = torch.stack([torch.rand((), generator=draw) for draw in draws])
        noise = torch.stack([torch.randn(self.config.prompt_dim, generator=draw) for draw in draws])
        device = batch["feats"].device
        heard, feats, prompt = batch["feats"], batch["feats"], batch["prompt"]
        if self.config.warp and self.training:
            stretch = 1 + self.config.warp * (2 * torch.stack([torch.rand(2, generator=draw) for draw in draws]) - 1)
            stretch = stretch.to(device)
            heard, feats = stretch_bands(feats, stretch[:, 0]), stretch_bands(feats, stretch[:, 1])
            prompt = stretch_bands(prompt, stretch[:, 1])
        frames = window(prompt, batch["prompt_lengths"], self.config.prompt_frames, starts.to(device))
        total = int(self.frame_lengths(batch["feats_lengths"])[batch["labelled"]].sum())
        chosen = None
        # All processes together draw so many, so that a configuration means the same on one device and on several.
        most = -(-self.config.contrast_frames // (dist.get_world_size() if _together() else 1))
        if 0 < most < total:
            chosen = torch.randperm(total, generator=generator)[:most].sort().values.to(device)
        return batch | {"heard": heard, "feats": feats, "prompt": prompt, "prompt_window": frames,
                        "prompt_noise": noise.to(device), "contrast_frames": chosen}

    def counts(self, batch: Batch, phase: str = "main") -> dict[str, float]:
        labelled, chosen, mels = batch["labelled"], batch["contrast_frames"], batch["feats"].shape[-1]
        frames = int(self.frame_lengths(batch["feats_lengths"])[labelled].sum())
        return {"contrast": frames if chosen is None else len(chosen),
                "mel_speech": int(batch["feats_lengths"].sum()) * mels,
                "mel_phone": int(batch["feats_lengths"][labelled].sum()) * mels, "kl": len(batch["utts"])}

    def forward(self, batch: Batch, phase: str = "main") -> dict[str, torch.Tensor]:
        """heard and feats [B, N, D], phones and durations [B, U], prompt [B, P, D] and prompt_window [B, M, D] -> sums of the
        four losses."""
        c = self.config
        layers, lengths = self.encode_speech(batch["heard"], batch["feats_lengths"])
        speech = layers[-1]
        phones, durations = self.encode_phones(batch["phones"], batch["phones_lengths"],
                                               strided(batch["durations"], c.stride), speech.shape[1])
        mean, logvar = self.prompt_encoder(self.normalise(batch["prompt_window"]))
        voice = mean + batch["prompt_noise"] * (0.5 * logvar).exp() if self.training else mean
        kl = (kl_to_standard(mean.float(), logvar.float()) - c.kl_margin).clamp(min=0).sum()

        to_decoder = c.decoder_gradient * speech + (1 - c.decoder_gradient) * speech.detach()
        spectrum = self.spectrum(batch["prompt"], batch["prompt_lengths"])
        both = self.decode(torch.cat([to_decoder, phones]), lengths.repeat(2), voice.repeat(2, 1), spectrum.repeat(2, 1))
        target = self.normalise(batch["feats"]).repeat(2, 1, 1)
        inside = ~pad_mask(batch["feats_lengths"], target.shape[1]).repeat(2, 1)
        errors = ((both[:, :target.shape[1]].float() - target).square().sum(-1) * inside).sum(1)
        mel_speech, mel_phone = errors[:len(speech)].sum(), (errors[len(speech):] * batch["labelled"]).sum()
        contrast = self._contrast(speech, phones, lengths, batch, durations)
        return {"contrast": contrast, "mel_speech": mel_speech, "mel_phone": mel_phone, "kl": kl}

    def _contrast(self, speech, phones, lengths, batch, durations) -> torch.Tensor:
        c = self.config
        inside = ~pad_mask(lengths, speech.shape[1]) & batch["labelled"][:, None]
        token = token_of_frame(durations, speech.shape[1])
        labels = torch.gather(batch["phones"], 1, token)[inside]
        # Rows of other processes must not look like ours.
        rank = dist.get_rank() if _together() else 0
        rows = torch.arange(inside.numel(), device=speech.device).view(inside.shape)
        if c.positives == "segment":
            groups = rows[:, :1] * (1 + batch["phones"].shape[1]) + token
        else:
            groups = rows
        groups = (groups + rank * 2 ** 40)[inside]
        speech, phones = speech[inside], phones[inside]
        if batch["contrast_frames"] is not None:
            keep = batch["contrast_frames"]
            speech, phones, groups, labels = speech[keep], phones[keep], groups[keep], labels[keep]
        unit = nn.functional.normalize
        return symmetric_contrast(unit(speech, dim=-1), unit(phones, dim=-1), self.scale(), groups,
                                  labels if c.same_phone == "mask" else None, c.chunk, gather=self.training)

    def scale(self) -> torch.Tensor:
        """The factor on the cosine, one over the temperature."""
        return self.log_scale.exp().clamp(max=self.config.max_scale)

    @torch.no_grad()
    def metrics(self, batch: Batch) -> dict[str, tuple[float, float]]:
        """Frame retrieval within each utterance, both ways: the share of frames whose nearest is their own phone token."""
        speech, phones, lengths, durations = self.joint(batch)
        hits = [0, 0]
        for row, length in enumerate(lengths.tolist()):
            s, p = speech[row, :length], phones[row, :length]
            token = token_of_frame(durations[row:row + 1], length)[0]
            similarity = nn.functional.normalize(s, dim=-1) @ nn.functional.normalize(p, dim=-1).T
            hits[0] += int((token[similarity.argmax(1)] == token).sum())
            hits[1] += int((token[similarity.argmax(0)] == token).sum())
        total = int(lengths.sum())
        return {"retrieval_speech_to_phone": (hits[0], total), "retrieval_phone_to_speech": (hits[1], total)}

    # What comes out of it

    def normalise(self, feats: torch.Tensor) -> torch.Tensor:
        """Features [..., D] to zero mean and unit variance over the training part."""
        return (feats - self.mean) / self.std

    def frame_lengths(self, lengths: torch.Tensor) -> torch.Tensor:
        return (lengths + self.config.stride - 1) // self.config.stride

    def encode_speech(self, feats: torch.Tensor, lengths: torch.Tensor) -> tuple[list[torch.Tensor], torch.Tensor]:
        """feats [B, N, D] -> every block's output [B, N', D'] and, last, the joint space, zero in padding; lengths [B]."""
        inside = ~pad_mask(lengths, feats.shape[1])
        x, lengths = self.front(self.normalise(feats) * inside[..., None], lengths)
        if self.config.instance_norm:
            x = instance_norm(x, lengths)
        layers = self.speech_encoder(x, pad_mask(lengths, x.shape[1]))
        joint = self.speech_out(instance_norm(layers[-1], lengths) if self.config.instance_norm else layers[-1])
        return [*layers, joint.masked_fill(pad_mask(lengths, x.shape[1])[..., None], 0)], lengths

    def encode_phones(self, phones: torch.Tensor, lengths: torch.Tensor, durations: torch.Tensor,
                      size: int | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """phones [B, U], durations [B, U] in frames of the joint space -> joint [B, N', J], durations.
        N' is `size`, by default the longest row's sum."""
        tokens = self.token_encoder(self.phone_embedding(phones), pad_mask(lengths, phones.shape[1]))[-1]
        total = durations.sum(1)
        size = int(total.max()) if size is None else size
        x = regulate(tokens, durations, size) + self.place(_place_in_phone(durations, size)).to(tokens.dtype)
        pad = pad_mask(total, size)
        x = self.frame_encoder(x.masked_fill(pad[..., None], 0), pad)[-1]
        return self.phone_out(x).masked_fill(pad[..., None], 0), durations

    def encode_prompt(self, prompt: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """prompt [B, M, D] -> the mean voice vector of its central window [B, G]."""
        return self.prompt_encoder(self.normalise(window(prompt, lengths, self.config.prompt_frames)))[0]

    def spectrum(self, prompt: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """prompt [B, M, D] -> the mean normalised spectrum of its speech less its level, which is not the voice's [B, D]."""
        return self._spectrum(self.normalise(prompt), lengths)

    @staticmethod
    def _spectrum(mel: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        mean = mean_over(mel, loud_frames(mel, lengths))
        return mean - mean.mean(-1, keepdim=True)

    def decode(self, joint: torch.Tensor, lengths: torch.Tensor, voice: torch.Tensor, spectrum: torch.Tensor) -> torch.Tensor:
        """joint [B, N', J], voice [B, G], spectrum [B, D] as of `spectrum` -> normalised mel [B, N' * stride, D]."""
        pad = pad_mask(lengths, joint.shape[1])
        voices = self.voice_in(voice)[:, None].chunk(self.config.decoder_layers if self.config.voice_per_block else 1, -1)
        x = self.decoder(self.decoder_in(joint).masked_fill(pad[..., None], 0), pad, voices)[-1]
        mel = self.mel_out(x).reshape(len(joint), -1, len(self.mean))
        if self.spectrum_share is None:
            return mel
        return mel + self.spectrum_share(x).sigmoid().reshape(len(joint), -1, 1) * spectrum[:, None]

    def speak(self, joint: torch.Tensor, joint_lengths: torch.Tensor, prompt: torch.Tensor, prompt_lengths: torch.Tensor,
              lengths: torch.Tensor) -> torch.Tensor:
        """joint [B, N', J] in the voice of prompt [B, M, D] -> mel [B, N, D], of the lengths [B]."""
        spectrum = self.spectrum(prompt, prompt_lengths)
        mel = self.decode(joint, joint_lengths, self.encode_prompt(prompt, prompt_lengths), spectrum)[:, :int(lengths.max())]
        if self.config.voice_means:
            mel = mel + (spectrum - self._spectrum(mel, lengths))[:, None]
        return mel * self.std + self.mean

    def layers(self, batch: Batch) -> tuple[list[torch.Tensor], torch.Tensor]:
        layers, lengths = self.encode_speech(batch["feats"], batch["feats_lengths"])
        pad = pad_mask(lengths, layers[0].shape[1])[..., None]
        return [layer.masked_fill(pad, 0) for layer in layers], lengths

    def joint(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Both sides of the joint space: speech and phones [B, N', J], lengths [B], durations [B, U] in their frames."""
        layers, lengths = self.layers(batch)
        phones, durations = self.encode_phones(batch["phones"], batch["phones_lengths"],
                                               strided(batch["durations"], self.config.stride), layers[-1].shape[1])
        return layers[-1], phones, lengths, durations

    def convert(self, feats: torch.Tensor, lengths: torch.Tensor, prompt: torch.Tensor,
                prompt_lengths: torch.Tensor) -> torch.Tensor:
        """Voice conversion: what is said in feats [B, N, D] in the voice of prompt [B, M, D] -> mel [B, N, D]."""
        joint, joint_lengths, mean = self._speech_and_mean(feats, lengths)
        if self.config.voice_means:
            joint = joint + (self._speech_and_mean(prompt, prompt_lengths)[2] - mean)[:, None]
        return self.speak(joint, joint_lengths, prompt, prompt_lengths, lengths)

    def _speech_and_mean(self, feats: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """feats [B, N, D] -> the joint space [B, N', J], lengths [B], and its mean over speech [B, J]."""
        layers, joint_lengths = self.encode_speech(feats, lengths)
        loud = loud_frames(self.normalise(feats), lengths)[:, ::self.config.stride]
        return layers[-1], joint_lengths, mean_over(layers[-1], loud)

    def synthesize(self, phones: torch.Tensor, phones_lengths: torch.Tensor, durations: torch.Tensor,
                   prompt: torch.Tensor, prompt_lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Text-to-speech: phones [B, U] lasting durations [B, U] feature frames, in the voice of prompt [B, M, D]
        -> mel [B, N, D] and its lengths [B]."""
        joint, strided_durations = self.encode_phones(phones, phones_lengths, strided(durations, self.config.stride))
        lengths = durations.sum(1)
        return self.speak(joint, strided_durations.sum(1), prompt, prompt_lengths, lengths), lengths


def stretch_bands(mel: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    """Each row's spectrum stretched towards higher bands by its factor, as a shorter vocal tract does.

    mel [B, N, D], factor [B] -> [B, N, D]; bands are interpolated linearly, beyond the last it stays.
    """
    size = mel.shape[-1]
    place = (torch.arange(size, device=mel.device) / factor[:, None]).clamp(max=size - 1)
    low = place.long().clamp(max=size - 2)
    share = (place - low)[:, None]
    pick = low[:, None].expand(-1, mel.shape[1], -1)
    return torch.gather(mel, 2, pick) * (1 - share) + torch.gather(mel, 2, pick + 1) * share


def _together() -> bool:
    return dist.is_available() and dist.is_initialized()


def _place_in_phone(durations: torch.Tensor, size: int) -> torch.Tensor:
    """Where each frame stands in its token: share from the left, share from the right, log duration [B, size, 3]."""
    token = token_of_frame(durations, size)
    length = torch.gather(durations, 1, token).clamp(min=1).float()
    start = torch.gather(durations.cumsum(1) - durations, 1, token)
    left = (torch.arange(size, device=durations.device) - start + 0.5) / length
    return torch.stack([left, 1 - left, length.log()], dim=-1)
