"""One-dimensional convolutions over rows [R, C] as matrix products.

A window of k frames at stride s is ceil(k / s) pieces of blocks of s frames. Rows hold their channels side by side, so
a block is a row of [R / s, s * C] without a copy, and the convolution is ceil(k / s) matrix products that add up. On a
CPU that is several times faster than torch's convolution, above all backward. Behind the last row stand zeros.
"""

import torch
import torch.nn.functional as F

CHUNK = 2048
"""Rows of the first convolution that are worked on at a time, so that they stay in a CPU's cache."""


def _working(x: torch.Tensor) -> torch.dtype:
    device = x.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype


def strided_conv(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, stride: int) -> torch.Tensor:
    """x [R, C], weight [C', C, k] as torch's Conv1d has it, bias [C'] -> [R / stride, C']: row n is the window that
    begins at row n * stride of x. R must be a multiple of the stride. Follows autocast."""
    if len(x) % stride:
        raise ValueError(f"{len(x)} rows, wanted a multiple of the stride {stride}")
    dtype = _working(x)
    matrix = weight.to(dtype).permute(2, 1, 0).flatten(0, 1)
    return _StridedConv.apply(x.to(dtype), matrix, None if bias is None else bias.to(dtype), stride)


def _pieces(blocks: torch.Tensor, matrix: torch.Tensor):
    """Pairs (first row, columns) of blocks and rows of the matrix that belong together."""
    width, total = blocks.shape[1], matrix.shape[0]
    for j in range(-(-total // width)):
        yield j, min(width, total - j * width), slice(j * width, min((j + 1) * width, total))


class _StridedConv(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, matrix, bias, stride):
        x = x.contiguous()
        blocks = x.view(len(x) // stride, -1)
        out = None
        for j, width, rows in _pieces(blocks, matrix):
            if j == 0:
                first = blocks[:, :width]
                out = first @ matrix[rows] if bias is None else torch.addmm(bias, first, matrix[rows])
            elif j < len(blocks):
                out[:len(blocks) - j].addmm_(blocks[j:, :width], matrix[rows])
        ctx.save_for_backward(blocks, matrix)
        ctx.shape, ctx.bias = x.shape, bias is not None
        return out

    @staticmethod
    def backward(ctx, gradient):
        blocks, matrix = ctx.saved_tensors
        gradient = gradient.contiguous()
        wants_x, wants_matrix = ctx.needs_input_grad[:2]
        to_x = None
        to_matrix = torch.empty_like(matrix) if wants_matrix else None
        for j, width, rows in _pieces(blocks, matrix):
            part = gradient[:max(len(blocks) - j, 0)]
            if wants_matrix:
                torch.mm(blocks[j:, :width].T, part, out=to_matrix[rows])
            if wants_x and j == 0:
                to_x = F.pad(part @ matrix[rows].T, (0, blocks.shape[1] - width))
            elif wants_x and len(part):
                to_x[j:, :width].addmm_(part, matrix[rows].T)
        return (to_x.view(ctx.shape) if wants_x else None, to_matrix, gradient.sum(0) if ctx.bias else None, None)


def first_conv_gelu(windows: torch.Tensor, weights: torch.Tensor, biases: torch.Tensor,
                    sizes: list[int]) -> torch.Tensor:
    """GELU of an affine map of windows of samples, another one for each utterance.

    windows [R, k], the utterances one behind the other with `sizes` rows each; weights [B, C, k], biases [B, C]
    -> [R, C]. The map is cheaper than the memory that its result takes, so backward computes it again. There is no
    gradient to the windows. Follows autocast.
    """
    dtype = _working(windows)
    return _FirstConv.apply(windows.to(dtype).contiguous(), weights.to(dtype), biases.to(dtype), sizes)


def _chunks(sizes: list[int], device: torch.device):
    start = 0
    for b, size in enumerate(sizes):
        step = CHUNK if device.type == "cpu" else max(size, 1)
        for first in range(start, start + size, step):
            yield b, slice(first, min(first + step, start + size))
        start += size


class _FirstConv(torch.autograd.Function):
    @staticmethod
    def forward(ctx, windows, weights, biases, sizes):
        out = windows.new_empty(len(windows), weights.shape[1])
        for b, rows in _chunks(sizes, windows.device):
            out[rows] = F.gelu(torch.addmm(biases[b], windows[rows], weights[b].T))
        ctx.save_for_backward(windows, weights, biases)
        ctx.sizes = sizes
        return out

    @staticmethod
    def backward(ctx, gradient):
        windows, weights, biases = ctx.saved_tensors
        to_weights = torch.zeros_like(weights, dtype=torch.float32)
        to_biases = torch.zeros_like(biases, dtype=torch.float32)
        for b, rows in _chunks(ctx.sizes, windows.device):
            before = torch.addmm(biases[b], windows[rows], weights[b].T)
            inner = torch.ops.aten.gelu_backward(gradient[rows], before)
            # In this order the product is several times faster than in the other.
            to_weights[b] += (windows[rows].T @ inner).T
            to_biases[b] += inner.sum(0)
        return None, to_weights.to(weights.dtype), to_biases.to(biases.dtype), None
