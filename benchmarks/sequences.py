"""Networks over sequences, with random weights: BERT of MiniLM's size, one step of GPT-2 small, an LSTM."""

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention


def _heads(x: Tensor, heads: int) -> Tensor:
    """[1, T, C] -> [1, heads, T, C / heads]."""
    return x.reshape(1, x.shape[1], heads, -1).transpose(1, 2)


def _joined(x: Tensor) -> Tensor:
    """[1, heads, T, C / heads] -> [1, T, C]."""
    return x.transpose(1, 2).reshape(1, x.shape[2], -1)


class EncoderLayer(nn.Module):
    """Attention to all tokens and two linear layers, each normalized behind the shortcut (Devlin et al., 2018)."""

    def __init__(self, width: int, inner: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.output = (nn.Linear(width, width) for _ in range(4))
        self.attended, self.normalized = nn.LayerNorm(width, 1e-12), nn.LayerNorm(width, 1e-12)
        self.inner, self.outer = nn.Linear(width, inner), nn.Linear(inner, width)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        query, key, value = (_heads(layer(x), self.heads) for layer in (self.query, self.key, self.value))
        attention = _joined(scaled_dot_product_attention(query, key, value, attn_mask=mask))
        x = self.attended(x + self.output(attention))
        inner = nn.functional.gelu(self.inner(x))
        y: Tensor = self.normalized(x + self.outer(inner))
        return y


class Bert(nn.Module):
    """Token numbers [1, 128] and a mask of ones and zeros [1, 128] -> [1, 128, width]; 22.4 M weights."""

    TOKENS = 128

    def __init__(self, layers: int = 6, width: int = 384, heads: int = 12, words: int = 30_522) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(words, width), nn.Parameter(torch.randn(1, self.TOKENS, width))
        self.normalized = nn.LayerNorm(width, 1e-12)
        self.layers = nn.ModuleList(EncoderLayer(width, 4 * width, heads) for _ in range(layers))

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        x = self.normalized(self.words(tokens) + self.places)
        ignored = (1.0 - mask.float())[:, None, None] * -1e4
        for layer in self.layers:
            x = layer(x, ignored)
        return x


class DecoderLayer(nn.Module):
    """Attention to the tokens before and two linear layers, each behind a normalization (Radford et al., 2019)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention, self.output = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.inner, self.outer = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        query, key, value = (_heads(part, self.heads) for part in self.attention(self.before(x)).chunk(3, 2))
        keys, values = torch.cat([keys, key], 2), torch.cat([values, value], 2)
        x = x + self.output(_joined(scaled_dot_product_attention(query, keys, values)))
        x = x + self.outer(nn.functional.gelu(self.inner(self.between(x)), approximate="tanh"))
        return x, keys, values


class Gpt2(nn.Module):
    """One token [1, 1] behind PAST others -> a number for each word, and the keys and values; 124 M weights.

    Keys and values are [1, heads, tokens, width / heads], those of each layer in turn; the results have a token more.
    The embedding of the words is the last layer's weight, too.
    """

    PAST = 128

    def __init__(self, layers: int = 12, width: int = 768, heads: int = 12, words: int = 50_257) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(words, width), nn.Embedding(1024, width)
        nn.init.normal_(self.words.weight, 0, 0.02)
        self.layers = nn.ModuleList(DecoderLayer(width, heads) for _ in range(layers))
        self.normalized = nn.LayerNorm(width)
        self.logits = nn.Linear(width, words, bias=False)
        self.logits.weight = self.words.weight

    def forward(self, token: Tensor, *past: Tensor) -> tuple[Tensor, ...]:
        x = self.words(token) + self.places.weight[self.PAST : self.PAST + 1]
        kept: list[Tensor] = []
        for layer, keys, values in zip(self.layers, past[::2], past[1::2], strict=True):
            x, *both = layer(x, keys, values)
            kept += both
        return (self.logits(self.normalized(x)), *kept)


class Recurrent(nn.Module):
    """Two LSTM layers, 256 wide, over [1, T, 128], and a linear layer: [1, T, 64]; 0.9 M weights."""

    def __init__(self, inputs: int = 128, width: int = 256, outputs: int = 64) -> None:
        super().__init__()
        self.recurrent = nn.LSTM(inputs, width, num_layers=2, batch_first=True)
        self.linear = nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.linear(self.recurrent(x)[0])
        return y
